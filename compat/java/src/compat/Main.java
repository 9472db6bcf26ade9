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
 * <p>Most of a case is waiting, so four run at a time. Cases that measure time run alone, first.
 */
public final class Main {
    /** One case: throws if the server, or the client with it, does something else than expected. */
    public interface Case {
        void run(Scope scope) throws Exception;
    }

    /** Cases that measure time. */
    static final Map<String, Case> ALONE = new LinkedHashMap<>();
    /** All other cases. */
    static final Map<String, Case> TOGETHER = new LinkedHashMap<>();

    private static final int CASE_SECONDS_MAX = 120;

    private Main() {
    }

    public static void main(String[] args) throws Exception {
        Sending.add(TOGETHER);
        Groups.add(ALONE, TOGETHER);
        Pulling.add(TOGETHER);
        Errors.add(TOGETHER);
        Filters.add(TOGETHER);
        Positions.add(TOGETHER);
        List<String> wanted = Arrays.asList(args).subList(2, args.length);
        for (String name : wanted) {
            if (!ALONE.containsKey(name) && !TOGETHER.containsKey(name)) {
                System.err.println("no such case: " + name + "; there are " + ALONE.keySet() + " " + TOGETHER.keySet());
                System.exit(2);
            }
        }
        List<String> failed = new ArrayList<>();
        int passed = run(ALONE, 1, args[0], args[1], wanted, failed) + run(TOGETHER, 4, args[0], args[1], wanted, failed);
        for (String line : failed) {
            System.out.println("failed: " + line);
        }
        System.out.println(passed + " passed, " + failed.size() + " failed");
        System.out.flush();
        // The clients of a case that hung may still have threads.
        Runtime.getRuntime().halt(failed.isEmpty() ? 0 : 1);
    }

    private static int run(Map<String, Case> cases, int threads, String namesrv, String broker, List<String> wanted,
        List<String> failed) throws Exception {
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
        pool.shutdownNow();
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
        System.out.printf("%s %-28s %5.1f s%s%n", error == null ? "ok    " : "FAILED", name, (System.nanoTime() - start) / 1e9,
            error == null ? "" : "  " + error);
        return error;
    }
}
