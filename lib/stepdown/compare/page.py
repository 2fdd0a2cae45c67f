"""The style and the script of the HTML reports."""

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --ink: #1c1f24; --soft: #626a75; --line: #e2e4e8;
  --good: #137a3f; --bad: #c0261c; --good-bg: #e3f4e9; --bad-bg: #fdecea;
  --c0: #2563c9; --c1: #c76a07; --c2: #6d3fc0; --c3: #0f7f86; }
@media (prefers-color-scheme: dark) { :root { --bg: #15171b; --card: #1c1f25; --ink: #e6e8ec; --soft: #9aa3b0;
  --line: #30353e; --good: #5fd08c; --bad: #ff7b70; --good-bg: #16331f; --bad-bg: #3d1d1b; --c0: #7aacff; --c1: #f5a94a;
  --c2: #bb9af7; --c3: #4fc8cf; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 28px 24px 64px; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { display: flex; align-items: center; gap: 16px; flex-wrap: wrap; }
h1 { font-size: 24px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 6px; }
.verdict { padding: 3px 14px; border-radius: 999px; font-weight: 650; letter-spacing: .04em; }
.verdict.good { color: var(--good); background: var(--good-bg); }
.verdict.bad { color: var(--bad); background: var(--bad-bg); }
dl { margin: 16px 0 0; } dt { color: var(--soft); font-size: 13px; } dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); gap: 10px; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.figures dd { font-size: 21px; font-weight: 620; font-variant-numeric: tabular-nums; }
.facts div { display: grid; grid-template-columns: 110px 1fr; gap: 10px; font-size: 14px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px;
  margin-top: 16px; }
.legend { margin: 0 0 2px; display: flex; gap: 18px; flex-wrap: wrap; font-size: 13px; color: var(--soft); }
.legend span::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 50%;
  margin-right: 6px; background: var(--soft); }
.legend .c0::before { background: var(--c0); } .legend .c1::before { background: var(--c1); }
.legend .c2::before { background: var(--c2); } .legend .c3::before { background: var(--c3); }
.legend .failed::before { background: var(--bad); }
.legend .limit::before { border-radius: 0; width: 16px; height: 0; background: none; border-top: 2px dashed var(--soft);
  vertical-align: middle; }
svg { width: 100%; height: auto; display: block; }
svg .grid { stroke: var(--line); } svg .tick { fill: var(--soft); font-size: 12px; }
svg .c0 { --c: var(--c0); } svg .c1 { --c: var(--c1); } svg .c2 { --c: var(--c2); }
svg .c3 { --c: var(--c3); }
svg .curve { fill: none; stroke: var(--c); stroke-width: 1.6; opacity: .75; }
svg .limit { stroke: var(--c); stroke-dasharray: 6 5; opacity: .8; }
svg .point { fill: var(--c); } svg .point.failed { fill: var(--bad); }
svg a:hover .point { stroke: var(--ink); stroke-width: 2; }
svg .cross { stroke: var(--bad); stroke-width: 2; fill: none; }
.tools { display: flex; gap: 16px; align-items: center; margin: 4px 0 10px; font-size: 14px; flex-wrap: wrap; }
.tools input[type=search] { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line);
  border-radius: 7px; padding: 4px 10px; width: min(320px, 100%); }
.shown { color: var(--soft); margin-left: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; padding: 0; border-bottom: 2px solid var(--line); white-space: nowrap; }
th button { all: unset; cursor: pointer; padding: 6px 10px; color: var(--soft); font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--c0); } th[aria-sort] button { color: var(--ink); }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
th.n { text-align: right; }
td { padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
td:first-child, td:last-child { white-space: normal; overflow-wrap: anywhere; }
td:first-child { min-width: 290px;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.bad td { background: var(--bad-bg); } tr:target { outline: 2px solid var(--c0); outline-offset: -2px; }
td:last-child { min-width: 180px; }
"""

SCRIPT = """
for (const section of document.querySelectorAll("section.table")) {
  const body = section.querySelector("tbody"), heads = [...section.querySelectorAll("th")];
  const search = section.querySelector("input[type=search]"), failed = section.querySelector("input[type=checkbox]");
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent : parseFloat(cell.dataset.v);
  };
  heads.forEach((head, i) => head.firstChild.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b || 0
      : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b, undefined, {numeric: true});
    const rows = [...body.rows].map(row => [value(row, i), row]);
    rows.sort((a, b) => sign * compare(a[0], b[0])).forEach(pair => body.append(pair[1]));
  }));
  const filter = () => {
    const words = search.value.toLowerCase().split(/\\s+/);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      const passes = failed && failed.checked && !row.classList.contains("bad");
      row.hidden = passes || !words.every(word => text.includes(word));
      shown += !row.hidden;
    }
    section.querySelector(".shown").textContent = shown + " of " + body.rows.length + " rows";
  };
  search.addEventListener("input", filter);
  if (failed) failed.addEventListener("change", filter);
}
"""
