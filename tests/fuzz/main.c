/* tests/fuzz/main.c: runs a fuzz target without libFuzzer: the corpus, then seeded mutations of it.
 *
 * usage: fuzz_NAME [-runs=N] [-seed=N] [-last=FILE] [FILE|DIR]...
 * FILE of -last always holds the input that is running, so a crash leaves it behind; it is removed
 * at the end. */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE_LIMIT = 1 << 20 };

struct input {
    uint8_t *data;
    size_t size;
};

struct fuzzer {
    struct input *corpus;
    size_t len;
    uint64_t random;
    const char *last_path;
    uint8_t *last; /* the mapped file of -last, SIZE_LIMIT bytes */
    int last_fd;
};

static void die(const char *what)
{
    perror(what);
    exit(2);
}

/* ---- running one input ---- */

static void last_open(struct fuzzer *f, const char *path)
{
    f->last_path = path;
    f->last_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->last_fd < 0 || ftruncate(f->last_fd, SIZE_LIMIT) < 0)
        die(path);
    f->last = mmap(NULL, SIZE_LIMIT, PROT_READ | PROT_WRITE, MAP_SHARED, f->last_fd, 0);
    if (f->last == MAP_FAILED)
        die(path);
}

static void run(const struct fuzzer *f, struct input in)
{
    if (f->last) {
        if (ftruncate(f->last_fd, (off_t)in.size) < 0)
            die(f->last_path);
        memcpy(f->last, in.data, in.size);
    }
    LLVMFuzzerTestOneInput(in.data, in.size);
}

/* ---- the corpus ---- */

static void corpus_add(struct fuzzer *f, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct input in = { malloc(SIZE_LIMIT), 0 };

    f->corpus = realloc(f->corpus, (f->len + 1) * sizeof(*f->corpus));
    if (!file || !in.data || !f->corpus)
        die(path);
    in.size = fread(in.data, 1, SIZE_LIMIT, file);
    fclose(file);
    f->corpus[f->len++] = in;
}

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* Sorted, so that a seed means the same inputs on every machine. */
static void corpus_add_dir(struct fuzzer *f, const char *dir)
{
    struct dirent **entries;
    const int n = scandir(dir, &entries, visible, alphasort);

    if (n < 0)
        die(dir);
    for (int i = 0; i < n; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
            die(dir);
        corpus_add(f, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

/* ---- mutations ---- */

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static uint64_t random_bits(struct fuzzer *f)
{
    uint64_t z = f->random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t random_below(struct fuzzer *f, size_t n)
{
    return n ? (size_t)(random_bits(f) % n) : 0;
}

/* Replace cut bytes at index at by len others; nothing happens when that gets too large. */
static void exchange(struct input *in, size_t at, size_t cut, const uint8_t *with, size_t len)
{
    if (in->size - cut + len > SIZE_LIMIT)
        return;
    memmove(in->data + at + len, in->data + at + cut, in->size - at - cut);
    if (len)
        memcpy(in->data + at, with, len);
    in->size = in->size - cut + len;
}

static void change_byte(struct fuzzer *f, struct input *in, size_t at)
{
    static const uint8_t values[] = { 0,   1,   0x7F, 0x80, 0xFF, '"', '\\',
                                      '{', '}', '[',  ']',  ',',  '-', '0' };

    if (at == in->size)
        return;
    if (random_below(f, 2))
        in->data[at] ^= (uint8_t)(1u << random_below(f, 8));
    else
        in->data[at] = values[random_below(f, sizeof(values))];
}

/* Lengths and offsets go wrong at the ends of their ranges. */
static void change_number(struct fuzzer *f, struct input *in, size_t at)
{
    static const uint64_t values[] = { 0,          1,          0x7F,          0x80,      0xFFFF,
                                       INT32_MAX,  UINT32_MAX, INT64_MAX,     INT64_MIN, UINT64_MAX,
                                       1ull << 32, 1ull << 60, UINT64_MAX - 7 };
    const uint64_t value = values[random_below(f, sizeof(values) / sizeof(values[0]))];
    const size_t width = (size_t)1 << random_below(f, 4);
    uint8_t bytes[8];

    if (in->size - at < width)
        return;
    for (size_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    memcpy(in->data + at, bytes, width);
}

static void change_text(struct fuzzer *f, struct input *in, size_t at)
{
    static const char *const texts[] = { "9223372036854775807",
                                         "-1",
                                         "1e999",
                                         "NaN",
                                         "-Infinity",
                                         "18446744073709551616",
                                         "null",
                                         "[[[[",
                                         "{}",
                                         "\"\\u0000\"",
                                         "\xC3\xA9",
                                         "0.1",
                                         "true",
                                         "%s",
                                         "../" };
    const char *const text = texts[random_below(f, sizeof(texts) / sizeof(texts[0]))];

    exchange(in, at, random_below(f, in->size - at + 1) % 8, (const uint8_t *)text, strlen(text));
}

static void insert_piece(struct fuzzer *f, struct input *in, size_t at)
{
    const struct input other = f->corpus[random_below(f, f->len)];
    const size_t begin = random_below(f, other.size), len = random_below(f, other.size - begin + 1);

    if (other.size)
        exchange(in, at, 0, other.data + begin, len);
}

static void remove_piece(struct fuzzer *f, struct input *in, size_t at)
{
    const size_t rest = in->size - at;

    exchange(in, at, random_below(f, random_below(f, 4) ? rest % 16 + 1 : rest + 1), NULL, 0);
}

static void mutate(struct fuzzer *f, struct input *in)
{
    static void (*const ways[])(struct fuzzer *, struct input *, size_t) = {
        change_byte, change_byte,  change_byte,  change_number,
        change_text, insert_piece, remove_piece,
    };

    for (size_t n = 1 + random_below(f, 6); n > 0; n--) {
        const size_t way = random_below(f, sizeof(ways) / sizeof(ways[0]));
        ways[way](f, in, random_below(f, in->size + 1));
    }
}

static void run_mutations(struct fuzzer *f, uint64_t runs)
{
    struct input in = { malloc(SIZE_LIMIT), 0 };

    if (!in.data)
        die("malloc");
    for (; runs > 0; runs--) {
        const struct input from = f->corpus[random_below(f, f->len)];
        memcpy(in.data, from.data, from.size);
        in.size = from.size;
        mutate(f, &in);
        run(f, in);
    }
    free(in.data);
}

/* ---- the program ---- */

static const char *option(const char *arg, const char *name)
{
    const size_t len = strlen(name);
    return strncmp(arg, name, len) == 0 ? arg + len : NULL;
}

static void corpus_add_any(struct fuzzer *f, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        die(path);
    if (S_ISDIR(st.st_mode))
        corpus_add_dir(f, path);
    else
        corpus_add(f, path);
}

int main(int argc, char **argv)
{
    struct fuzzer f = { .random = 1 };
    uint64_t runs = 0;

    for (int i = 1; i < argc; i++) {
        const char *value;
        if ((value = option(argv[i], "-runs=")) != NULL)
            runs = strtoull(value, NULL, 10);
        else if ((value = option(argv[i], "-seed=")) != NULL)
            f.random = strtoull(value, NULL, 10);
        else if ((value = option(argv[i], "-last=")) != NULL)
            last_open(&f, value);
        else
            corpus_add_any(&f, argv[i]);
    }
    run(&f, (struct input){ (uint8_t *)"", 0 });
    for (size_t i = 0; i < f.len; i++)
        run(&f, f.corpus[i]);
    if (f.len)
        run_mutations(&f, runs);
    printf("%zu inputs of the corpus, %llu mutations\n", f.len,
           f.len ? (unsigned long long)runs : 0);

    if (f.last)
        unlink(f.last_path);
    for (size_t i = 0; i < f.len; i++)
        free(f.corpus[i].data);
    free(f.corpus);
    return 0;
}
