// SPDX-License-Identifier: Apache-2.0
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * {@code Expressions SEED COUNT CASES RESULTS}: makes COUNT expressions, each with four messages, and has the classes of the
 * broker evaluate them. A line of CASES is a JSON array of an expression and of the properties of its messages, the same line
 * of RESULTS what Java says: {@code refused}, or {@code true}, {@code false}, {@code null} or {@code fails} for each message.
 */
public final class Expressions {
    private static final int MESSAGES = 4;
    private static final String[] NAMES = {"a", "b", "c", "$d", "_E1", "TAGS", "nothing"};
    private static final String[] VALUES = {
        "0", "1", "5", "-5", "+5", "007", "10", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",
        "9223372036854775808", "-9223372036854775808", "0.0", "-0.0", "5.0", "5.", ".5", "5e0", "5E+1", "1e-400", "1e400", "5f",
        "5.5D", "5L", "5ff", "1_000", " 5", "5 ", "\t5.5\n", "+", "-", ".", "e5", "5e", "+-5", "NaN", "-NaN", "nan", "Infinity", "-Infinity",
        "inf", "0x10", "４２", "٤٢", "٤.٢", "𝟝", "true", "TRUE", "tRuE", "false", "x", "abc", "ABC", "abcabc", "it's", "''", "中文", "a b",
        "\uD83D\uDE00", "100000000000000000000", "4.9E-324", "1.7976931348623157E308", "0.1", "0.30000000000000004", "NULL",
    };
    private static final String[] NUMBERS = {
        "0", "1", "5", "10", "42", "2147483647", "2147483648", "9223372036854775807", "5L", "5l", "0L", "5.0", "5.", ".5", "5e0", "5E+1", "5.5",
        "4.9E-324", "1.7976931348623157E308", "0.1", "3e-1", "00.5", "50", "99.99",
    };
    private static final String[] BAD_NUMBERS = {"007", "9223372036854775808", "0.0", "1e400", "1e-400", "5e", "0x10", "1.2.3", "5LL", "5_0"};
    private static final String[] TEXTS = {"", "5", "5.0", "true", "x", "abc", "ABC", "bc", "ab", "it's", "''", "中文", "文", "a b", "\uD83D\uDE00", "-- x"};
    private static final String[] ODD = {
        "LIKE", "'", "\"x\"", "==", "!=", "<", "(", ")", "()", ",", "NOT", "AND", "OR", "IS", "IN", "NULL", "BETWEEN", "CONTAINS", "+", "-", "*", "/",
        "%", ";", "--", "/*", "*/", "/**/", "?", "#", "é", "名", "\u00a0", "\u3000", "\f", "'x'", "5", "a", "TRUE", "ESCAPE", "5a", "a.b", "=", "<>",
    };

    private final Random random;

    private Expressions(long seed) {
        random = new Random(seed);
    }

    public static void main(String[] args) throws Exception {
        Expressions expressions = new Expressions(Long.parseLong(args[0]));
        Map<String, Integer> counts = new TreeMap<>();
        try (Writer cases = writer(args[2]); Writer results = writer(args[3])) {
            for (int i = Integer.parseInt(args[1]); i > 0; i--) {
                String expression = expressions.expression();
                List<String> line = new ArrayList<>();
                line.add(json(expression));
                StringBuilder result = new StringBuilder();
                Expression compiled = compile(expression);
                for (int n = 0; n < MESSAGES; n++) {
                    String properties = expressions.properties();
                    line.add(json(properties));
                    if (compiled != null) {
                        String value = evaluate(compiled, properties);
                        counts.merge(value, 1, Integer::sum);
                        result.append(n > 0 ? " " : "").append(value);
                    }
                }
                if (compiled == null) {
                    counts.merge("refused", 1, Integer::sum);
                    result.append("refused");
                }
                cases.write("[" + String.join(",", line) + "]\n");
                results.write(result + "\n");
            }
        }
        System.out.println(counts);
    }

    private static Writer writer(String path) throws Exception {
        return Files.newBufferedWriter(Path.of(path), StandardCharsets.UTF_8);
    }

    private static Expression compile(String expression) {
        try {
            return SelectorParser.parse(expression);
        } catch (Exception e) {
            return null;
        }
    }

    private static String evaluate(Expression expression, String properties) {
        try {
            return String.valueOf(expression.evaluate(new MessageEvaluationContext(MessageDecoder.string2messageProperties(properties))));
        } catch (Exception e) {
            return "fails";
        }
    }

    private static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    private boolean one(int in) {
        return random.nextInt(in) == 0;
    }

    private String any(String... of) {
        return of[random.nextInt(of.length)];
    }

    private String properties() {
        StringBuilder out = new StringBuilder();
        for (int n = random.nextInt(7); n > 0; n--) {
            out.append(any(NAMES)).append('\u0001').append(any(VALUES)).append(n == 1 && one(3) ? "" : "\u0002");
        }
        return out.toString();
    }

    /** One in four is damaged. */
    private String expression() {
        List<String> words = new ArrayList<>();
        condition(words, 1 + random.nextInt(4));
        if (one(4)) {
            for (int n = 1 + random.nextInt(2); n > 0; n--) {
                damage(words);
            }
        }
        StringBuilder out = new StringBuilder();
        for (String word : words) {
            out.append(one(12) ? any("", "\t", "\n", "\r\n", " /* it's */ ", "/***/", "-- to the end\n", "  ") : " ").append(word);
        }
        if (one(20)) {
            out.append(any(" ", "\n", "-- to the end", "/* x */", ")", " x", ";", "'"));
        }
        String text = out.toString();
        if (!one(30)) {
            return text;
        }
        // Within a word, too.
        int at = text.offsetByCodePoints(0, random.nextInt(text.codePointCount(0, text.length()) + 1));
        return text.substring(0, at) + any(ODD) + text.substring(at);
    }

    private void damage(List<String> words) {
        int at = random.nextInt(words.size() + 1);
        switch (random.nextInt(4)) {
            case 0:
                words.add(at, any(ODD));
                break;
            case 1:
                if (at < words.size()) {
                    words.remove(at);
                }
                break;
            case 2:
                if (at < words.size()) {
                    words.set(at, any(ODD));
                }
                break;
            default:
                words.add(at, any(BAD_NUMBERS));
        }
    }

    private String word(String keyword) {
        if (!one(5)) {
            return keyword;
        }
        StringBuilder out = new StringBuilder();
        for (char c : keyword.toCharArray()) {
            out.append(random.nextBoolean() ? Character.toLowerCase(c) : c);
        }
        return out.toString();
    }

    private void add(List<String> words, String... more) {
        for (String word : more) {
            words.add(word(word));
        }
    }

    private void condition(List<String> words, int depth) {
        if (depth > 1 && one(2)) {
            condition(words, depth - 1);
            add(words, any("AND", "OR"));
            condition(words, depth - 1);
        } else if (depth > 1 && one(2)) {
            if (one(2)) {
                add(words, "NOT");
            }
            words.add("(");
            condition(words, depth - 1);
            words.add(")");
        } else {
            comparison(words, depth);
        }
    }

    private void comparison(List<String> words, int depth) {
        operand(words, depth);
        switch (random.nextInt(12)) {
            case 0: case 1: case 2:
                add(words, any("=", "<>"));
                operand(words, depth);
                break;
            case 3: case 4: case 5:
                add(words, any("<", "<=", ">", ">="));
                number(words);
                break;
            case 6:
                add(words, any("<", "<=", ">", ">="));
                operand(words, depth);
                break;
            case 7:
                not(words);
                add(words, "BETWEEN");
                number(words);
                add(words, "AND");
                number(words);
                break;
            case 8:
                not(words);
                add(words, "IN", "(");
                for (int n = random.nextInt(7); n > 0; n--) {
                    words.add(text());
                    words.add(",");
                }
                add(words, text(), ")");
                break;
            case 9:
                not(words);
                add(words, any("CONTAINS", "STARTSWITH", "ENDSWITH"), text());
                break;
            case 10:
                add(words, "IS");
                not(words);
                add(words, "NULL");
                break;
            default:
        }
    }

    private void not(List<String> words) {
        if (one(3)) {
            add(words, "NOT");
        }
    }

    private void number(List<String> words) {
        if (one(8)) {
            words.add("-");
        }
        words.add(one(4) ? any(NAMES) : any(NUMBERS));
    }

    private void operand(List<String> words, int depth) {
        switch (random.nextInt(16)) {
            case 0:
                words.add(text());
                break;
            case 1: case 2:
                number(words);
                break;
            case 3:
                add(words, any("TRUE", "FALSE", "NULL"));
                break;
            case 4:
                add(words, any("+", "-", "NOT"));
                operand(words, depth);
                break;
            case 5:
                if (depth > 0) {
                    words.add("(");
                    comparison(words, depth - 1);
                    words.add(")");
                    break;
                }
                // Falls through: no deeper.
            default:
                words.add(any(NAMES));
        }
    }

    private String text() {
        return "'" + any(TEXTS).replace("'", "''") + "'";
    }
}
