// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Runs the cases against one cluster: {@code Main NAMESRV_ADDR BROKER_ADDR [CASE...]}. Prints one line for each case, and
 * {@code N passed, N failed} at the end; exits with 1 if a case failed.
 *
 * <p>A case named {@code defect.} shows a defect of the Java broker: there it has to fail.
 *
 * <p>Cases that measure single milliseconds run alone, first. Then those that mostly wait for times of the server run side by
 * side, and beside them the others, four at a time.
 */
public final class Main {
    /** One case: throws if the server, or the client with it, does something else than expected. */
    public interface Case {
        void run(Scope scope) throws Exception;
    }

    /** Cases that measure time. */
    static final Map<String, Case> ALONE = new LinkedHashMap<>();
    /** Cases that mostly wait: the longest first, since the last one decides when all are done. */
    static final Map<String, Case> WAITING = new LinkedHashMap<>();
    /** All other cases. */
    static final Map<String, Case> TOGETHER = new LinkedHashMap<>();

    private static final int WAITING_AT_A_TIME = 16;
    private static final int CASE_SECONDS_MAX = 150;

    private Main() {
    }

    public static void main(String[] args) throws Exception {
        Sending.add(TOGETHER);
        Groups.add(ALONE, TOGETHER);
        Pulling.add(TOGETHER);
        Errors.add(TOGETHER);
        Delayed.add(WAITING, TOGETHER);
        Retries.add(WAITING, TOGETHER);
        Transactions.add(WAITING, TOGETHER);
        Ordered.add(WAITING, TOGETHER);
        LookingBack.add(TOGETHER);
        Limits.add(TOGETHER);
        Replies.add(TOGETHER);
        Traces.add(TOGETHER);
        Filters.add(TOGETHER);
        Positions.add(TOGETHER);
        List<String> wanted = Arrays.asList(args).subList(2, args.length);
        for (String name : wanted) {
            if (!ALONE.containsKey(name) && !WAITING.containsKey(name) && !TOGETHER.containsKey(name)) {
                System.err.println("no such case: " + name + "; there are " + ALONE.keySet() + " " + WAITING.keySet() + " " + TOGETHER.keySet());
                System.exit(2);
            }
        }
        List<String> failed = new ArrayList<>();
        int passed = outcome(start(ALONE, 1, args[0], args[1], wanted), failed);
        Map<String, Future<String>> running = start(WAITING, WAITING_AT_A_TIME, args[0], args[1], wanted);
        running.putAll(start(TOGETHER, 4, args[0], args[1], wanted));
        passed += outcome(running, failed);
        for (String line : failed) {
            System.out.println("failed: " + line);
        }
        System.out.println(passed + " passed, " + failed.size() + " failed");
        System.out.flush();
        // The clients of a case that hung may still have threads.
        Runtime.getRuntime().halt(failed.isEmpty() ? 0 : 1);
    }

    private static Map<String, Future<String>> start(Map<String, Case> cases, int threads, String namesrv, String broker, List<String> wanted) {
        ExecutorService pool = Executors.newFixedThreadPool(threads, job -> {
            Thread thread = new Thread(job);
            thread.setDaemon(true);
            return thread;
        });
        Map<String, Future<String>> running = new LinkedHashMap<>();
        cases.forEach((name, body) -> {
            if (wanted.isEmpty() || wanted.contains(name)) {
                running.put(name, pool.submit(() -> runOne(name, body, namesrv, broker)));
            }
        });
        pool.shutdown();
        return running;
    }

    /** Waits for the cases; returns how many passed. */
    private static int outcome(Map<String, Future<String>> running, List<String> failed) throws Exception {
        int passed = 0;
        for (Map.Entry<String, Future<String>> entry : running.entrySet()) {
            String error;
            try {
                error = entry.getValue().get(CASE_SECONDS_MAX, TimeUnit.SECONDS);
            } catch (java.util.concurrent.TimeoutException e) {
                error = entry.getKey() + ": not done after " + CASE_SECONDS_MAX + " s";
            }
            if (error == null) {
                passed++;
            } else {
                failed.add(error);
            }
        }
        return passed;
    }

    private static String runOne(String name, Case body, String namesrv, String broker) {
        long start = System.nanoTime();
        String error = null;
        try (Scope scope = new Scope(name, namesrv, broker)) {
            body.run(scope);
        } catch (Throwable e) {
            StackTraceElement[] trace = e.getStackTrace();
            String where = Arrays.stream(trace).filter(t -> t.getClassName().startsWith("compat."))
                .filter(t -> !t.getClassName().equals("compat.Check"))
                .map(t -> t.getFileName() + ":" + t.getLineNumber()).findFirst().orElse("?");
            error = name + " (" + where + "): " + e;
        }
        if (name.startsWith("defect.") && !Scope.OXMQ) {
            error = error == null ? name + ": the Java broker does not have this defect" : null;
        }
        System.out.printf("%s %-28s %5.1f s%s%n", error == null ? "ok    " : "FAILED", name, (System.nanoTime() - start) / 1e9,
            error == null ? "" : "  " + error);
        return error;
    }
}
