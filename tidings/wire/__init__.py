"""Generated from proto/tidings/v1 by scripts/generate_wire.py (`make wire`); never edited."""
