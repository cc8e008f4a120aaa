/* tests/fuzz/fuzz_jsonl.c: any bytes as the input of a filter: as many lines come out as went in,
 * every one of them JSON; the first byte chooses threads, lines a call, and the longest line. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "jsonl/internal.h"

static void answer(void *user, struct jsonl_line *lines, size_t n)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        if (om_json_get(lines[i].request, "fail"))
            om_fail(&lines[i].err, OM_E_FORMAT, "as was asked for");
        else
            om_json_write(lines[i].out, lines[i].request, 0);
    }
}

static size_t count_lines(om_sv text)
{
    size_t n = text.len > 0 && text.ptr[text.len - 1] != '\n';

    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '\n';
    return n;
}

static void check_answers(om_sv rest, size_t lines)
{
    om_sv line;

    FUZZ_CHECK(count_lines(rest) == lines);
    FUZZ_CHECK(rest.len == 0 || rest.ptr[--rest.len] == '\n');
    while (lines-- > 0) {
        struct om_json *j = NULL;
        FUZZ_CHECK(om_sv_split(&rest, '\n', &line));
        FUZZ_CHECK(om_json_parse(line, 0, &j, NULL) == 0);
        FUZZ_CHECK(om_json_kind(j) == OM_JSON_OBJECT);
        om_json_free(j);
    }
}

/* The cutter alone, on pieces of the text. */
static void check_cutter(om_sv text, size_t piece)
{
    struct jsonl_text line = { .bytes = OM_BUF_INIT(1u << 30) };
    size_t lines = 0, bytes = 0;

    for (size_t at = 0; at < text.len; at += piece) {
        om_sv rest = { text.ptr + at, OM_MIN(piece, text.len - at) };
        while (rest.len > 0) {
            if (!jsonl_cut(&rest, 1u << 29, &line))
                continue;
            lines++;
            bytes += line.bytes.len + 1;
            om_buf_clear(&line.bytes);
        }
    }
    FUZZ_CHECK(bytes + line.bytes.len == text.len);
    FUZZ_CHECK(lines + (line.bytes.len > 0) == count_lines(text));
    om_buf_release(&line.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t limits[] = { 0, 1, 16, 1000 };
    const uint8_t choice = size ? data[0] : 0;
    const struct jsonl f = { .fn = answer,
                             .threads = 1 + choice % 3,
                             .batch_size = 1 + choice / 4 % 5,
                             .max_line = limits[choice >> 6] };
    uint8_t *const copy = fuzz_copy(data, size);
    const om_sv text = { (const char *)copy + (size > 0), size - (size > 0) };
    const int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
    bool closed;

    FUZZ_CHECK(write(in, text.ptr, text.len) == (ssize_t)text.len && lseek(in, 0, SEEK_SET) == 0);
    FUZZ_CHECK(jsonl_run(NULL, &f, in, "in", out, &closed, NULL) == 0 && !closed);
    const off_t len = lseek(out, 0, SEEK_END);
    char *const answers = malloc((size_t)len + 1);
    FUZZ_CHECK(answers != NULL && pread(out, answers, (size_t)len, 0) == len);
    check_answers((om_sv){ answers, (size_t)len }, count_lines(text));
    check_cutter(text, 1 + choice % 17);
    free(answers);
    close(in);
    close(out);
    free(copy);
    return 0;
}
