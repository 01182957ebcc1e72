import java.lang.instrument.ClassFileTransformer;
import java.lang.instrument.Instrumentation;
import java.security.ProtectionDomain;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Lets Cassandra's request workers sleep when they have no work, instead of polling every 50 µs.
 *
 * On a server with many cores polling saves a context switch. On two cores that also run a broker and four services it
 * takes up to 0.8 of a core, also when idle (docs/adr/0013). Only the waiting changes: a worker without work sleeps at
 * once, as it would otherwise after 10 ms.
 */
public final class QuietWorkers implements ClassFileTransformer {
    private static final String WORKER = "org/apache/cassandra/concurrent/SEPWorker";
    private static final String WORK = WORKER + "$Work";

    public static void premain(String arguments, Instrumentation instrumentation) {
        instrumentation.addTransformer(new QuietWorkers());
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> old, ProtectionDomain domain, byte[] bytes) {
        if (!WORKER.equals(name)) {
            return null;
        }
        ClassReader reader = new ClassReader(bytes);
        ClassWriter writer = new ClassWriter(reader, ClassWriter.COMPUTE_MAXS);
        reader.accept(new WithoutSpinning(writer), 0);
        return writer.toByteArray();
    }

    private static final class WithoutSpinning extends ClassVisitor {
        WithoutSpinning(ClassVisitor next) {
            super(Opcodes.ASM9, next);
        }

        @Override
        public MethodVisitor visitMethod(int access, String name, String type, String signature, String[] thrown) {
            MethodVisitor method = super.visitMethod(access, name, type, signature, thrown);
            if (!name.equals("doWaitSpin")) {
                return method;
            }
            sleep(method);
            return null;
        }

        /** {@code assign(Work.STOP_SIGNALLED, true)}: the call that Cassandra makes after polling for 10 ms. */
        private static void sleep(MethodVisitor method) {
            method.visitCode();
            method.visitVarInsn(Opcodes.ALOAD, 0);
            method.visitFieldInsn(Opcodes.GETSTATIC, WORK, "STOP_SIGNALLED", "L" + WORK + ";");
            method.visitInsn(Opcodes.ICONST_1);
            method.visitMethodInsn(Opcodes.INVOKEVIRTUAL, WORKER, "assign", "(L" + WORK + ";Z)Z", false);
            method.visitInsn(Opcodes.POP);
            method.visitInsn(Opcodes.RETURN);
            method.visitMaxs(2, 1);
            method.visitEnd();
        }
    }
}
