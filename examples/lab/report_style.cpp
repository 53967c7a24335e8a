// SPDX-License-Identifier: BSL-1.0

// Colours tell the roles apart for every kind of colour vision (vermilion, blue, purple, grey), and
// never alone: marks, hatching and words say the same.

#include "report.hpp"

namespace lab {

std::string_view report_style() {
  return R"(:root{
  --ground:#fcfcfb; --raised:#f4f4f1; --ink:#1c1f23; --soft:#5a616b; --rule:#dddcd6;
  --naive:#b8400b; --wrong:#8d3a86; --fixed:#0b62a6; --plain:#5f6670; --hatch:#f6d9c9;
  --harm:#fbeae1; --link:#0b62a6;
  --naive-bar:#b8400b; --wrong-bar:#8d3a86; --fixed-bar:#0b62a6; --plain-bar:#5f6670;
  --mono:ui-monospace,"SF Mono","Cascadia Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
}
@media (prefers-color-scheme:dark){:root{
  --ground:#15181c; --raised:#1d2126; --ink:#e4e6e9; --soft:#9ba3ad; --rule:#31373e;
  --naive:#ff9561; --wrong:#dd9bd8; --fixed:#6db5f5; --plain:#a3abb5; --hatch:#4a2a1a;
  --harm:#38231a; --link:#7dbdf7;
  --naive-bar:#c9622f; --wrong-bar:#a866a3; --fixed-bar:#3d84c2; --plain-bar:#6d7681;
}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--ground);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
  font-variant-numeric:tabular-nums}
main{max-width:70rem;margin:0 auto;padding:3.5rem 2rem 4rem}
h1,h2,h3,p,ul,ol,dl,dd,figure{margin:0;padding:0}
h1{font-size:2.1rem;line-height:1.2;font-weight:650;letter-spacing:-.015em;text-wrap:balance}
h2{font-size:1.3rem;line-height:1.3;font-weight:650}
h3{font-size:.95rem;font-weight:650}
h3 em{font-style:normal} .naive h3 em{color:var(--naive)} .wrong h3 em{color:var(--wrong)}
a{color:var(--link);text-decoration-thickness:1px;text-underline-offset:.3em}
code,.race h2,.summary th a{font-family:var(--mono)}
code{font-size:.85em}
.aside{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.store{position:absolute}
.brand{font-size:.85rem;color:var(--soft);margin-bottom:.4rem}
.lead{max-width:44rem;margin-top:1rem;font-size:1.1rem}
.note,.key,.numbers,.verdict,.left-out{color:var(--soft);font-size:.875rem}
.note{max-width:48rem;margin-top:1rem}
.loss{color:var(--naive)} .none{color:var(--fixed)}
.alarm{margin-top:1.5rem;padding:.9rem 1.1rem;border-left:4px solid var(--naive);background:var(--harm)}
.alarm ul{padding-left:1.2rem}

table{border-collapse:collapse;font-size:.875rem}
th,td{text-align:right;padding:.35rem .7rem;font-weight:400;white-space:nowrap}
th:first-child{text-align:left;padding-left:0}
thead th{color:var(--soft)}
tbody tr{border-top:1px solid var(--rule)}
td small{display:block;color:var(--soft);font-size:.9em}
.words{text-align:left}
.summary{width:100%;margin-top:2.5rem}
.summary tbody tr:last-child{border-bottom:1px solid var(--rule)}
.summary td.words{white-space:normal;color:var(--soft);max-width:17rem}
.summary .group{text-align:center;padding-bottom:0}
.summary thead tr{border:0}
.summary th.narrow{display:none}
.scroll{overflow-x:auto}

.race{margin-top:4rem;padding-top:2rem;border-top:1px solid var(--rule);
  display:grid;grid-template:auto auto 1fr/minmax(0,1fr) minmax(0,1fr);column-gap:4rem;row-gap:2.25rem}
.intro{grid-column:1/-1;display:grid;grid-template-columns:1fr auto;align-items:baseline}
.intro p{grid-column:1/-1}
.up{font-size:.875rem}
.story{font-size:1.1rem;margin-top:.35rem}
.numbers{margin-top:.15rem}
.why{grid-column:2;grid-row:2/4;display:flex;flex-direction:column;gap:2.25rem}
.lost,.price,.race>.cure{grid-column:1}
.lost h3 em{font-weight:400}
.key i{display:inline-block;vertical-align:-.1em;margin-right:.4em}
.key-line{height:1em;border-left:2px solid var(--ink);margin-left:.2em}
.key .key-hatch{width:1.6em;height:.8em;margin-left:1.2em;border:1px solid var(--naive-bar);
  background:repeating-linear-gradient(135deg,var(--naive-bar) 0 1.5px,var(--hatch) 1.5px 4.5px)}

.bars{list-style:none;margin-top:.9rem;display:grid;gap:1rem}
.form{line-height:1.4} .form code{color:var(--soft);margin-left:.4em}
.naive .form b{color:var(--naive)} .wrong .form b{color:var(--wrong)}
.fixed .form b{color:var(--fixed)} .plain .form b{color:var(--plain)}
.bar{display:block;margin:.2rem 0;overflow:visible}
.solid{fill:var(--plain-bar)} .fixed .solid{fill:var(--fixed-bar)}
.naive .solid{fill:var(--naive-bar)} .wrong .solid{fill:var(--wrong-bar)}
.track{fill:var(--raised)}
.off{fill:url(#hatch);stroke:var(--naive-bar)}
.hatch-ground{fill:var(--hatch)} .hatch-line{fill:var(--naive-bar)}
.zero{stroke:var(--soft)} .expected{stroke:var(--ink);stroke-width:2}
.verdict b{color:var(--ink)} .verdict .loss{color:var(--naive)} .verdict .none{color:var(--fixed)}
details{margin-top:.7rem;font-size:.875rem}
summary{cursor:pointer;color:var(--soft);width:fit-content}
details table{margin-top:.5rem}
details th,details td{padding:.3rem .5rem;vertical-align:top}

.lanes{margin-top:.9rem;position:relative}
.names,.lanes li{display:grid;grid-template-columns:1.9rem repeat(var(--lanes),minmax(0,1fr))}
.names{border-bottom:1px solid var(--rule);padding-bottom:.4rem;font-size:.875rem}
.names b{font-weight:600;padding:0 .5rem 0 .8rem;overflow-wrap:anywhere}
.names b:first-child{grid-column:2}
.lanes ol{list-style:none;padding:.35rem 0}
.lanes li{align-items:center;font-size:.875rem;line-height:1.35;
  background:
    repeating-linear-gradient(90deg,var(--rule) 0 2px,transparent 2px calc(100%/var(--lanes)))
    1.9rem 0/calc(100% - 1.9rem) 100% no-repeat}
.lanes li i{font-style:normal;font-size:.75rem;color:var(--soft);grid-row:1}
.lanes li>span:last-child{grid-row:1;grid-column:calc(var(--lane) + 2);position:relative;margin:.2rem .4rem .2rem .8rem;
  padding:.28rem .6rem;border-radius:.3rem;background:var(--raised);overflow-wrap:break-word;hyphens:auto}
.lanes li>span:last-child::before{content:"";position:absolute;left:calc(-.8rem - 3px);top:calc(50% - 4px);
  width:8px;height:8px;border-radius:50%;background:var(--soft)}
.lanes .harm>span:last-child{background:var(--harm);box-shadow:inset 0 0 0 1.5px var(--naive);font-weight:600}
.lanes .harm>span:last-child::before{background:var(--naive);width:12px;height:12px;
  left:calc(-.8rem - 5px);top:calc(50% - 6px)}
.lanes small{display:block;color:var(--naive);font-size:.75rem;font-weight:600}
.explored ul{margin-top:.35rem;padding-left:1.2rem;font-size:.875rem}
.cure p{margin-top:.35rem}
.cure .types{font-weight:600;color:var(--fixed)}

.cost{display:block;margin-top:.6rem;overflow:visible;font-size:12px}
.cost text{fill:var(--soft)} .cost .middle{text-anchor:middle} .cost .end{text-anchor:end}
.grid{stroke:var(--rule)} .cpus{stroke:var(--soft);stroke-dasharray:3 3}
.price .naive{--series:var(--naive)} .price .wrong{--series:var(--wrong)}
.price .fixed{--series:var(--fixed)} .price .plain{--series:var(--plain)}
.series{stroke:var(--series);stroke-width:2} .plain .series{stroke-dasharray:5 4} .again .series{stroke-dasharray:2 3}
.whisker{stroke:var(--series);stroke-width:1.5}
.cost circle,.cost path{fill:var(--series);stroke:var(--ground);stroke-width:1.5}
.cost .again circle,.cost .again path,.again .cost circle,.again .cost path{fill:var(--ground);stroke:var(--series)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.4rem;margin-top:.6rem;font-size:.875rem;font-weight:600}
.legend li{color:var(--series)} .legend .cost{display:inline-block;margin:0 .5em 0 0;vertical-align:-.05em}

.machine{margin-top:4rem;padding-top:2rem;border-top:1px solid var(--rule)}
.machine dl{margin-top:1rem;display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:.8rem 3rem;
  font-size:.875rem}
dt{color:var(--soft)} dd{overflow-wrap:anywhere}

@media (max-width:52rem){
  main{padding:2rem 1rem 3rem}
  h1{font-size:1.7rem}
  .race{display:flex;flex-direction:column;margin-top:3rem}
  .summary .wide{display:none}
  .summary th.narrow{display:table-cell;text-align:right}
  .names,.lanes li{grid-template-columns:1.25rem repeat(var(--lanes),minmax(0,1fr))}
  .lanes li{font-size:.8125rem;background-position:1.25rem 0;background-size:calc(100% - 1.25rem) 100%}
  .names b{padding:0 .2rem 0 .55rem}
  .lanes li>span:last-child{margin:.2rem .2rem .2rem .55rem;padding:.25rem .4rem}
  .lanes li>span:last-child::before{left:calc(-.55rem - 3px)}
  .lanes .harm>span:last-child::before{left:calc(-.55rem - 5px)}
  .machine dl{grid-template-columns:1fr}
}
@media print{.race{break-inside:avoid}}
)";
}

}  // namespace lab
