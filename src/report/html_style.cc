#include "report/html_parts.h"

namespace ferry::html {

const char* const kStyle = R"css(
:root{color-scheme:light dark;--ground:#fbfbfa;--card:#fff;--ink:#1c1e21;--soft:#5f656d;--line:#dfe1e4;--track:#eef0f2;
--plain:#4c78b8;--base:#9aa1ab;--best:#1f8a5b;--wrong:#c23b3b;--warn:#8a5a00;--warnground:#fff6e0}
@media (prefers-color-scheme:dark){:root{--ground:#141619;--card:#1c1f23;--ink:#e8eaed;--soft:#a2a9b3;--line:#32363c;
--track:#282c32;--plain:#7ba4dd;--base:#7d8590;--best:#4fc08d;--wrong:#f07575;--warn:#f0c674;--warnground:#2d2718}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:clamp(1.35rem,1rem + 1.6vw,2.1rem);line-height:1.25;margin:.2em 0 .4em;text-wrap:balance}
h2{font-size:1.2rem;margin:2.2em 0 .6em}
h3{font-size:1rem;margin:0 0 .6em}
p{margin:.4em 0}
.over{color:var(--soft);font-size:.85rem;margin:0}
.lead{font-size:1.05rem;color:var(--soft);max-width:75ch}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:12px 0;min-width:0}
.pair{display:grid;grid-template-columns:1fr;gap:0 16px}
@media (min-width:900px){.pair{grid-template-columns:1fr 1fr}}
.columns{display:grid;grid-template-columns:minmax(0,1fr);gap:0 32px}
@media (min-width:900px){.columns{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.alert{background:var(--warnground);color:var(--warn);border-radius:8px;padding:10px 14px;margin:12px 0}
.bar{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:2px 12px;margin:0 0 12px}
.bar .name{overflow-wrap:anywhere}
.bar .value{font-variant-numeric:tabular-nums;text-align:right;white-space:nowrap}
.bar svg{grid-column:1/-1;width:100%;height:14px;display:block;border-radius:3px;background:var(--track)}
.bar .under{grid-column:1/-1;color:var(--soft);font-size:.82rem;display:flex;justify-content:space-between;gap:8px;
font-variant-numeric:tabular-nums}
.dist svg{height:44px;background:none;border-bottom:1px solid var(--line);border-radius:0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--soft)}
th:first-child,td:first-child{text-align:left;white-space:normal;min-width:11em;overflow-wrap:anywhere}
rect,path{fill:var(--plain)} .base rect,.base path{fill:var(--base)} .best rect,.best path{fill:var(--best)}
.wrong rect,.wrong path{fill:var(--wrong)} 
.wrong svg rect,.wrong svg path{opacity:.4} line{stroke:var(--ink);vector-effect:non-scaling-stroke}
td.mark,.mark{font-weight:600} .best .mark{color:var(--best)} .wrong .mark,.wrong td{color:var(--wrong)}
ul{padding-left:1.2em;margin:.4em 0} li{margin:.25em 0;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0} dt{color:var(--soft)} dd{margin:0;overflow-wrap:anywhere}
code{font:0.9em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.key{color:var(--soft);font-size:.85rem}
.g0{--c:#8a63b8}.g1{--c:#4c78b8}.g2{--c:#3a9a9a}.g3{--c:#5f9e45}.g4{--c:#c98a1e}.g5{--c:#c2607a}.g6{--c:#a05a2c}.g7{--c:#7d8590}
rect[class^=g]{fill:var(--c)} .stack svg{height:26px} .legend{grid-column:1/-1;display:flex;flex-wrap:wrap;gap:2px 18px;font-size:.88rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;background:var(--c);margin-right:.4em}
details{margin-top:10px} summary{cursor:pointer;color:var(--soft);margin-bottom:10px}
)css";

}  // namespace ferry::html
