// SPDX-License-Identifier: Apache-2.0
package compat;

import java.util.Objects;
import java.util.concurrent.Callable;

/** What a case demands: each method throws {@link AssertionError} with the facts when it does not hold. */
final class Check {
    private Check() {
    }

    static void equal(String what, Object expected, Object found) {
        if (!Objects.equals(expected, found)) {
            throw new AssertionError(what + ": expected " + shorten(expected) + ", found " + shorten(found));
        }
    }

    static void that(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Waits until {@code condition} holds, looking every 10 ms; fails after {@code seconds}. */
    static void within(double seconds, String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + (long) (seconds * 1e9);
        while (!condition.call()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within " + seconds + " s: " + what);
            }
            Thread.sleep(10);
        }
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 300 ? text : text.substring(0, 300) + "... (" + text.length() + " characters)";
    }
}
