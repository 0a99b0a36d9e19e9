"""The parts of the C file that `fastbp.formats.c` writes, as templates.

In them $T is the type, $NAME the function, $UPPER the same in capitals, $f the suffix of a constant, and $exp and the
like are the functions of <math.h> for that type.
"""

from __future__ import annotations

HEADER = """\
/* $NAME: $model written by fastbp $version.
 *
 *   void $NAME(const $T *x, $T *out);
 *
 * x    one row, ${UPPER}_INPUTS = $inputs; not the same memory as out
 * out  ${UPPER}_OUTPUTS = $outputs: $meaning
 *
 * Layers: $layers
$classes * Compile: cc -std=c99 -O2 file.c -lm
 * $threads
 */
#include <math.h>

#define ${UPPER}_INPUTS $inputs
#define ${UPPER}_OUTPUTS $outputs
#define ${UPPER}_WORK $work /* numbers of scratch memory for ${NAME}_with */
"""

DENSE = """
/* z = x W + b, W of shape (i, o) row by row */
static void ${NAME}_dense(const $T *restrict x, int i, const $T *restrict W, const $T *restrict b,
                          int o, $T *restrict z)
{
    for (int k = 0; k < o; k++)
        z[k] = b ? b[k] : 0;
    for (int j = 0; j < i; j++)
        for (int k = 0; k < o; k++)
            z[k] += x[j] * W[j * (long)o + k];
}
"""

ACTIVATION = """
static void ${NAME}_$kind($T *a, int n)
{
    for (int k = 0; k < n; k++) {
        const $T z = a[k];
        a[k] = $expression;
    }
}
"""

SOFTMAX = """
static void ${NAME}_softmax($T *z, int n)
{
    $T top = z[0], sum = 0;
    for (int k = 1; k < n; k++)
        top = z[k] > top ? z[k] : top;
    for (int k = 0; k < n; k++)
        sum += z[k] = $exp(z[k] - top);
    for (int k = 0; k < n; k++)
        z[k] /= sum;
}
"""

PREDICT = """
/* As $NAME, with ${UPPER}_WORK numbers of memory from the caller: may run in several threads at once. */
void ${NAME}_with(const $T *x, $T *out, $T *work)
{
$body}

void $NAME(const $T *x, $T *out)
{
    $static$T work[${UPPER}_WORK];
    ${NAME}_with(x, out, work);
}
"""

MAIN = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
$labels
static void ${NAME}_print(const $T *out)
{
$label    for (int k = 0; k < ${UPPER}_OUTPUTS; k++)
        printf("%s%.${digits}g", k ? "," : "", (double)out[k]);
    putchar('\n');
}

/* Rows of comma-separated numbers on stdin, predictions on stdout.
 * A first line that begins with no number is a header. */
int main(void)
{
    static $T x[${UPPER}_INPUTS], out[${UPPER}_OUTPUTS];
    char field[64];
    size_t length = 0;
    long line = 1;
    int columns = 0, header = 0, c;
    do {
        c = getchar();
        if (c == EOF && ferror(stdin)) {
            perror("stdin");
            return 1;
        }
        if (c != EOF && c != '\n' && c != ',') {
            if (length + 1 < sizeof field)
                field[length] = (char)c;
            length++;
            continue;
        }
        size_t kept = length < sizeof field ? length : sizeof field - 1;
        while (kept && (field[kept - 1] == ' ' || field[kept - 1] == '\t' || field[kept - 1] == '\r'))
            kept--;
        field[kept] = 0;
        if (kept || columns || c == ',') { /* else a blank line */
            const int first = line == 1 && columns == 0;
            char *start = first && strncmp(field, "\357\273\277", 3) == 0 ? field + 3 : field, *end; /* UTF-8's mark */
            const $T value = $strto(start, &end);
            const int number = end != start && end == field + kept && length < sizeof field;
            if (!number && first)
                header = 1;
            if (!number && !header) {
                fprintf(stderr, "line %ld, column %d: '%s' is no number\n", line, columns + 1, field);
                return 1;
            }
            if (columns < ${UPPER}_INPUTS)
                x[columns] = value;
            columns++;
        }
        length = 0;
        if (c == ',')
            continue;
        if (columns && !header) {
            if (columns != ${UPPER}_INPUTS) {
                fprintf(stderr, "line %ld: %d columns, expected %d\n", line, columns, ${UPPER}_INPUTS);
                return 1;
            }
            $NAME(x, out);
            ${NAME}_print(out);
        }
        line++;
        columns = header = 0;
    } while (c != EOF);
    if (fflush(stdout) != 0) {
        perror("stdout");
        return 1;
    }
    return 0;
}
"""
