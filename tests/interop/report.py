"""The pages of --report in a real browser: nothing is loaded, nothing is cut off or overlaps, in wide and narrow windows, light and
dark."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

from common import CLI, Report, checkpoint, export, scratch

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

MEASURE = """<script>
const measured = {
    title: document.title,
    loaded: performance.getEntriesByType('resource').length,
    width: innerWidth,
    wide: document.documentElement.scrollWidth > innerWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
    tables: document.querySelectorAll('table').length,
    rows: document.querySelectorAll('tr').length,
    bars: document.querySelectorAll('.bar i').length,
    dots: document.querySelectorAll('.dots i').length,
    cut: [], outside: [], overlapping: [],
};
document.querySelectorAll('details').forEach((d) => { d.open = true; });
for (const cell of document.querySelectorAll('td, th, h1, h2, h3, .facts li, summary, p'))
    if (cell.scrollWidth > cell.clientWidth + 1) measured.cut.push(cell.textContent.slice(0, 80));
for (const mark of document.querySelectorAll('.bar i, .dots i')) {
    const a = mark.getBoundingClientRect(), b = mark.parentElement.getBoundingClientRect();
    if (a.left < b.left - 4 || a.right > b.right + 4 || a.top < b.top - 4 || a.bottom > b.bottom + 4) measured.outside.push(mark.title);
}
for (const row of document.querySelectorAll('tr')) {
    const boxes = [...row.children].filter((c) => c.offsetWidth > 0).map((c) => c.getBoundingClientRect());
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
            measured.overlapping.push(row.textContent.slice(0, 80));
    }));
}
measured.wide = measured.wide || document.documentElement.scrollWidth > innerWidth;
document.body.replaceChildren();
const out = document.createElement('pre');
out.textContent = 'MEASURED' + JSON.stringify(measured) + 'END';
document.body.append(out);
</script>"""


def measure(page, width, dark):
    copy = page.with_suffix(".measured.html")
    copy.write_text(page.read_text() + MEASURE)
    # a window of a browser has a least width: the narrow page is a frame
    frame = page.with_suffix(".frame.html")
    frame.write_text(f'<!doctype html><iframe src="{copy.name}" style="width:{width}px;height:900px;border:0" onload="'
                     f"document.title = 'done'; const p = document.createElement('pre'); "
                     f"p.textContent = this.contentDocument.body.textContent; document.body.append(p)\"></iframe>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--window-size=1400,1000",
             f"--user-data-dir={page.parent}/profile", "--virtual-time-budget=5000", "--dump-dom"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    result = subprocess.run([BROWSER, *flags, frame.as_uri()], capture_output=True, text=True, timeout=120)
    found = re.search(r"MEASURED(\{.*\})END", result.stdout, re.S)
    assert found, f"the browser printed {result.stdout[-200:]!r}"
    return json.loads(found.group(1).replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


def looks_right(page, wants, width, dark):
    m = measure(page, width, dark)
    assert m["width"] == width, m["width"]
    assert m["loaded"] == 0, f"{m['loaded']} resources were loaded"
    assert not m["wide"], "the page scrolls sideways"
    for flaw in ("cut", "outside", "overlapping"):
        assert not m[flaw], f"{flaw}: {m[flaw][:3]}"
    lightness = sum(map(int, re.findall(r"\d+", m["paper"])[:3])) / 3
    assert (lightness < 60) == dark, m["paper"]
    assert abs(lightness - sum(map(int, re.findall(r"\d+", m["ink"])[:3])) / 3) > 120, f"{m['ink']} on {m['paper']}"
    for key, least in wants.items():
        assert m[key] >= least, f"{m[key]} {key}, expected {least}"
    return f"{m['rows']} rows, {m['bars']} bars, {m['dots']} dots"


def run(*args):
    result = subprocess.run([CLI, *map(str, args)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.strip()[-300:]


def main(minilm):
    report = Report()
    with scratch() as directory:
        work = pathlib.Path(directory)
        export(checkpoint("llama/text-generation-with-past", directory), work / "llama", "--task", "text-generation-with-past")
        export(checkpoint("bert/text-classification", directory), work / "bert", "--task", "text-classification")
        export(minilm, work / "minilm")
        quantize = ("onnxruntime", "quantize", "-q", "--compare")
        run(*quantize, "--onnx_model", work / "bert", "--avx2", "--report", work / "bert.html", "-o", work / "q1")
        run(*quantize, "--onnx_model", work / "minilm", "--avx512_vnni", "--report", work / "minilm.html", "-o", work / "q2")
        run(*quantize, "--onnx_model", work / "llama", "--int4", "--report", work / "llama.html", "-o", work / "q3")
        run("onnxruntime", "optimize", "-q", "--compare", "--onnx_model", work / "minilm", "-O4", "--report",
            work / "optimize.html", "-o", work / "o1")
        t5 = checkpoint("t5/text2text-generation-with-past", directory)
        run("export", "onnx", "-q", "--model", t5, "--task", "text2text-generation-with-past", "--transformersjs", "--compare",
            "--report", work / "t5.html", work / "t5")
        pages = {"bert": {"dots": 10, "bars": 30, "tables": 3}, "minilm": {"dots": 39, "bars": 100, "tables": 4},
                 "llama": {"dots": 10, "bars": 30, "tables": 3}, "optimize": {"dots": 30, "bars": 60, "tables": 3},
                 "t5": {"dots": 100, "bars": 300, "tables": 20}}
        for name, wants in pages.items():
            for width in (1200, 380):
                for dark in (False, True):
                    report.check(f"{name}.html, {width} px, {'dark' if dark else 'light'}", looks_right, work / f"{name}.html",
                                 wants, width, dark)
    report.close()


if __name__ == "__main__":
    if not BROWSER:
        print("skipped: there is no browser (apt-get install chromium)")
        print("0 passed, 0 failed, 1 skipped")
    else:
        main(*sys.argv[1:])
