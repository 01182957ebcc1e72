"""Texts of natural repetition, which compress about as well as what people write: few words are most of a text."""

import random
from itertools import accumulate

# In the order of their frequency, because the choice follows Zipf's law by place.
_LINES = (
    "the to i you a and it is in that of on for we at",
    "have be this but so not do are just can was if my what with",
    "will me get all when there out now your up like no know they how",
    "then go one time good from about or see think today need had come some",
    "back would did want too really more here as should she he his her has",
    "been them were an make still tomorrow yes okay thanks sure maybe later please sorry",
    "morning evening week work home meeting call phone train lunch dinner coffee report file draft",
    "version number ticket customer order invoice delivery price team project plan idea problem question answer",
    "check send sent wait ready late early almost again already never always everything something nothing",
    "someone everyone where why which because before after during since until while photo picture link",
    "document table list note page test release build server deploy error fixed broken running slow",
    "fast new old big small long short right wrong left open close start stop begin",
    "end first last next school kids family friend weekend holiday weather rain sun cold warm",
    "city street house door key car bike bus money book music film game party birthday",
    "present doctor better best worse happy tired busy free quiet nice great funny strange true",
    "possible easy hard important interesting different same other another both half enough",
)
_WORDS = tuple(" ".join(_LINES).split(" "))
# Whole messages that are sent again and again.
_PHRASES = (
    "ok",
    "thanks!",
    "on my way",
    "see you tomorrow",
    "good morning",
    "sounds good",
    "I will call you back",
    "running five minutes late",
    "where are you?",
    "👍",
    "😂😂",
    "haha",
    "好的",
    "谢谢！",
    "明天见",
    "收到",
    "können wir morgen sprechen?",
    "d'accord, à demain",
)
_WORD_WEIGHTS = tuple(accumulate(1 / place for place in range(1, len(_WORDS) + 1)))
_PHRASE_WEIGHTS = tuple(accumulate(1 / place for place in range(1, len(_PHRASES) + 1)))
_PHRASE_SHARE = 0.25
_MEAN_WORDS = 11
_MOST_WORDS = 120


def text(draw: random.Random) -> str:
    """One message: a phrase, or some words, mostly few. The same draws give the same text."""
    if draw.random() < _PHRASE_SHARE:
        return draw.choices(_PHRASES, cum_weights=_PHRASE_WEIGHTS)[0]
    count = min(1 + int(draw.expovariate(1 / _MEAN_WORDS)), _MOST_WORDS)
    return " ".join(draw.choices(_WORDS, cum_weights=_WORD_WEIGHTS, k=count))
