// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedReader;
import java.io.File;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import org.apache.rocketmq.tools.command.MQAdminStartup;
import org.apache.rocketmq.tools.command.offset.GetConsumerStatusCommand;

/**
 * Many calls of the Java mqadmin in one JVM: a call alone takes two seconds, most of them for the start of Java.
 *
 * <p>Reads calls from standard input until an empty line, one a line: a name and the arguments, divided by tabs. For each it writes the files NAME.out, NAME.err and
 * NAME.rc into the folder given as argument, then prints the name. Texts and exit codes are those of the script `mqadmin`: the same main method runs.
 */
public final class Batch {
    /** Stands for System.exit; an error, because MQAdminStartup catches every exception. */
    private static final class Exit extends Error {
        private final int code;

        Exit(int code) {
            super("exit " + code, null, false, false);
            this.code = code;
        }
    }

    public static void main(String[] args) throws Exception {
        File folder = new File(args[0]);
        PrintStream answers = System.out;
        PrintStream errors = System.err;
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkPermission(java.security.Permission permission) {
            }

            @Override
            public void checkPermission(java.security.Permission permission, Object context) {
            }

            @Override
            public void checkExit(int code) {
                // Only mqadmin's own exits: this class ends by leaving the JVM.
                if (Thread.currentThread().getName().equals("mqadmin")) {
                    throw new Exit(code);
                }
            }
        });
        BufferedReader calls = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = calls.readLine(); line != null && !line.isEmpty(); line = calls.readLine()) {
            String[] parts = line.split("\t", -1);
            String name = parts[0];
            int[] code = {0};
            try (PrintStream out = file(folder, name + ".out"); PrintStream err = file(folder, name + ".err")) {
                System.setOut(out);
                System.setErr(err);
                System.clearProperty("rocketmq.namesrv.addr"); // each call is a process of its own, for which -n is set anew
                forgetCommands();
                if (line.contains("getConsumerStatus")) {
                    // Java has this command and forgot to list it.
                    MQAdminStartup.initCommand(new GetConsumerStatusCommand());
                }
                Thread thread = new Thread(() -> code[0] = call(Arrays.copyOfRange(parts, 1, parts.length)), "mqadmin");
                thread.start();
                while (!join(thread)) {
                    wake(thread);
                }
            } finally {
                System.setOut(answers);
                System.setErr(errors);
            }
            Files.writeString(new File(folder, name + ".rc").toPath(), code[0] + "\n");
            answers.println(name);
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static boolean join(Thread thread) throws InterruptedException {
        thread.join(5);
        return !thread.isAlive();
    }

    /** At its end mqadmin waits for a thread that looks only every three seconds whether it is to stop: that one is woken. */
    private static void wake(Thread mqadmin) {
        for (StackTraceElement frame : mqadmin.getStackTrace()) {
            if (frame.getMethodName().equals("shutdown") && frame.getClassName().endsWith(".ServiceThread")) {
                for (Thread thread : Thread.getAllStackTraces().keySet()) {
                    if (thread.getName().startsWith("NettyEventExecutor")) {
                        thread.interrupt();
                    }
                }
                return;
            }
        }
    }

    private static int call(String[] args) {
        try {
            MQAdminStartup.main(args);
            return 0;
        } catch (Exit exit) {
            return exit.code;
        } catch (Throwable failure) {
            // What the launcher of Java does with it.
            System.err.print("Exception in thread \"main\" ");
            failure.printStackTrace();
            return 1;
        }
    }

    private static PrintStream file(File folder, String name) throws Exception {
        return new PrintStream(new FileOutputStream(new File(folder, name)), true, StandardCharsets.UTF_8);
    }

    /** Every call of main fills the list of commands again. */
    private static void forgetCommands() throws Exception {
        for (Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers()) && List.class.isAssignableFrom(field.getType())) {
                field.setAccessible(true);
                ((List<?>) field.get(null)).clear();
            }
        }
    }
}
