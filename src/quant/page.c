/* src/quant/page.c: the report as one self-contained page: tables, and bars that are elements of
 * the page; no scripts, nothing is loaded. */
#include <math.h>
#include <stdio.h>

#include "quant/report.h"

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
    "color:#1c2430;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #d5dbe3}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}"
    "th,td{padding:.2rem .6rem;text-align:left;vertical-align:middle}"
    "th{font-weight:600;border-bottom:1px solid #9aa5b4}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}"
    "tr:nth-child(even) td{background:#f5f7fa}td.name{overflow-wrap:anywhere}"
    "td.bar{width:30%;min-width:8rem}.b{height:.8rem;background:#c3cfe0;position:relative}"
    ".b i{position:absolute;inset:0 auto 0 0;background:#2f6fb5}.e i{background:#c2562d}"
    ".e{background:#f3e4dd}.key{color:#5a6675}"
    "@media(prefers-color-scheme:dark){body{color:#dfe5ee;background:#151a21}"
    "tr:nth-child(even) td{background:#1c232c}.b{background:#33404f}.e{background:#3d2c25}"
    ".key{color:#93a0b0}}";

static void put_text(struct om_buf *b, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            om_buf_adds(b, "&lt;");
            break;
        case '>':
            om_buf_adds(b, "&gt;");
            break;
        case '&':
            om_buf_adds(b, "&amp;");
            break;
        case '"':
            om_buf_adds(b, "&quot;");
            break;
        default:
            om_buf_addc(b, *text);
        }
    }
}

static void put_cell(struct om_buf *b, const char *kind, const char *text)
{
    om_buf_printf(b, "<td class=%s>", kind);
    put_text(b, text);
    om_buf_adds(b, "</td>");
}

static void put_size(struct om_buf *b, uint64_t bytes)
{
    static const char *const units[] = { "bytes", "KB", "MB", "GB" };
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 1000 && u + 1 < OM_COUNT(units); u++)
        v /= 1000;
    om_buf_printf(b, u == 0 ? "<td class=n>%.0f %s</td>" : "<td class=n>%.1f %s</td>", v, units[u]);
}

/* A bar of width of 100, with a part of it filled. */
static void put_bar(struct om_buf *b, const char *kind, double width, double filled)
{
    om_buf_printf(b,
                  "<td class=bar><div class=\"b %s\" style=\"width:%.2f%%\"><i "
                  "style=\"width:%.2f%%\"></i></div></td>",
                  kind, OM_MAX(width, 0.5), filled);
}

static void put_operators(struct om_buf *b, const struct om_quant_file *f)
{
    om_buf_adds(
        b, "<h3>Operators</h3><table><tr><th>operator<th class=n>before<th class=n>after</tr>");
    for (size_t i = 0; i < f->n_ops; i++) {
        char name[256];

        snprintf(name, sizeof(name), "%.*s", OM_SV(f->ops[i].op));
        om_buf_adds(b, "<tr>");
        put_cell(b, "name", name);
        om_buf_printf(b, "<td class=n>%" PRIu64 "</td><td class=n>%" PRIu64 "</td></tr>\n",
                      f->ops[i].before, f->ops[i].after);
    }
    om_buf_adds(b, "</table>");
}

static void put_weights(struct om_buf *b, const struct om_quant_file *f)
{
    double size = 1, error = 0;

    for (size_t i = 0; i < f->n_weights; i++) {
        size = OM_MAX(size, (double)f->weights[i].before);
        error = OM_MAX(error, f->weights[i].relative);
    }
    om_buf_adds(
        b,
        "<h3>Weights</h3><p class=key>Size: the bar is the size before, its filled part the size "
        "after. Error: the root of the "
        "sum of squared differences over that of the squared elements; largest: of one element.</p>"
        "<table><tr><th>weight<th>form<th class=n>before<th class=n>after<th>size"
        "<th class=n>largest<th class=n>error<th></tr>\n");
    for (size_t i = 0; i < f->n_weights; i++) {
        const struct om_quant_weight *const w = &f->weights[i];

        om_buf_adds(b, "<tr>");
        put_cell(b, "name", w->name);
        put_cell(b, "form", w->form);
        put_size(b, w->before);
        put_size(b, w->after);
        put_bar(b, "s", 100 * (double)w->before / size,
                w->before > 0 ? 100 * OM_MIN((double)w->after / (double)w->before, 1) : 0);
        if (w->measured) {
            om_buf_printf(b, "<td class=n>%.3g</td><td class=n>%.3g</td>", w->max, w->relative);
            put_bar(b, "e", 100, error > 0 ? 100 * w->relative / error : 0);
        }
        om_buf_adds(b, "</tr>\n");
    }
    om_buf_adds(b, "</table>");
}

static void put_outputs(struct om_buf *b, const struct om_quant_file *f)
{
    if (f->n_differences == 0)
        return;
    om_buf_adds(
        b, "<h3>Outputs on made-up inputs</h3><table><tr><th>output<th class=n>largest magnitude"
           "<th class=n>largest difference<th class=n>relative error</tr>\n");
    for (size_t i = 0; i < f->n_differences; i++) {
        const struct om_quant_difference *const d = &f->differences[i];

        if (!d->compared)
            continue;
        om_buf_adds(b, "<tr>");
        put_cell(b, "name", d->name);
        om_buf_printf(b, "<td class=n>%.4g</td><td class=n>%.3g</td><td class=n>%.3g</td></tr>\n",
                      d->largest, d->max, d->total > 0 ? sqrt(d->error / d->total) : 0);
    }
    om_buf_adds(b, "</table>");
}

void om_quant_report_page(const struct om_quant_report *r, struct om_buf *b)
{
    om_buf_printf(b,
                  "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport "
                  "content=\"width=device-width\"><title>Quantization</title><style>%s</style>\n"
                  "<h1>What quantization changed</h1>\n"
                  "<table><tr><th>file<th>quantized<th class=n>before<th class=n>after<th></tr>\n",
                  style);
    for (size_t i = 0; i < r->n; i++) {
        const struct om_quant_file *const f = r->files[i];

        om_buf_adds(b, "<tr>");
        put_cell(b, "name", f->name);
        put_cell(b, "name", f->target);
        put_size(b, f->size_before);
        put_size(b, f->size_after);
        put_bar(b, "s", 100,
                f->size_before > 0 ? 100 * OM_MIN((double)f->size_after / (double)f->size_before, 1)
                                   : 0);
        om_buf_adds(b, "</tr>\n");
    }
    om_buf_adds(b, "</table>\n");
    for (size_t i = 0; i < r->n; i++) {
        om_buf_adds(b, "<h2>");
        put_text(b, r->files[i]->target);
        om_buf_adds(b, "</h2>\n");
        put_outputs(b, r->files[i]);
        put_weights(b, r->files[i]);
        put_operators(b, r->files[i]);
    }
    om_buf_adds(b, "</html>\n");
}
