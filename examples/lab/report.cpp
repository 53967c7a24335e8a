// SPDX-License-Identifier: BSL-1.0

#include "report.hpp"

#include "html.hpp"
#include "pictures.hpp"
#include "text.hpp"

namespace lab {

namespace {

using html::duration;
using html::escape;
using html::number;

std::string head() {
  return
      R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Interlock lab report</title>
<link rel="icon" href="data:,">
<style>
)html" +
      std::string(report_style()) +
      R"html(</style>
</head>
<body>
<svg width="0" height="0" class="store" aria-hidden="true"><defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect class="hatch-ground" width="6" height="6"/><rect class="hatch-line" width="2.5" height="6"/>
</pattern></defs></svg>
)html";
}

std::string count(std::size_t n, const std::string& one, const std::string& many) {
  return number(static_cast<std::uint64_t>(n)) + " " + (n == 1 ? one : many);
}

std::string alarm(const run_result& run) {
  const std::vector<std::string> odd = surprises(run);
  if (odd.empty()) return "";
  std::string out = "<div class=\"alarm\" role=\"note\"><b>Not as it should be</b><ul>";
  for (const std::string& each : odd) out += "<li>" + escape(each) + "</li>";
  return out + "</ul></div>\n";
}

std::string explored_opening(const run_result& run) {
  return "<header>\n<p class=\"brand\">Interlock lab</p>\n<h1>How requests that overlap lose</h1>\n"
         "<p class=\"lead\">" +
         count(run.scenarios.size(), "race", "races") +
         " under the model explorer. It takes a small round of two or three requests, finds an "
         "interleaving that loses the naive code, and tries every one of the fixed code."
         "</p>\n" +
         alarm(run) + "</header>\n";
}

// The run in two sentences, and what did not go as told, if anything.
std::string opening(const run_result& run) {
  if (run.only_explored) return explored_opening(run);
  std::size_t lost = 0;
  std::uint64_t rounds = 0;
  std::uint64_t losing = 0;
  for (const scenario_result& each : run.scenarios) {
    const form_result* const naive = each.first(role::naive);
    lost += naive != nullptr && naive->losing_rounds > 0 ? 1U : 0U;
    for (const form_result& form : each.forms) {
      if (form.of->kind != role::fixed) continue;
      rounds += form.rounds;
      losing += form.losing_rounds;
    }
  }
  std::string out =
      "<header>\n<p class=\"brand\">Interlock lab</p>\n<h1>What is lost when requests overlap"
      "</h1>\n<p class=\"lead\">" +
      count(run.scenarios.size(), "race", "races") +
      ", each run as naive code and with the type that ends it, on real threads of this machine" +
      (run.engine.empty() ? "" : " and " + escape(run.engine)) + ". The naive code lost in " +
      number(static_cast<std::uint64_t>(lost)) + " of " +
      number(static_cast<std::uint64_t>(run.scenarios.size())) + "; ";
  out += losing == 0 ? "the fixed code lost <b class=\"none\">nothing</b> in " + number(rounds) +
                           " rounds.</p>\n"
                     : "the fixed code lost in <b class=\"loss\">" + number(losing) + "</b> of " +
                           number(rounds) + " rounds.</p>\n";
  return out + alarm(run) + "</header>\n";
}

std::string lost_cell(const form_result* of) {
  if (of == nullptr) return "<td>&ndash;</td>";
  return "<td><b class=\"" + std::string(of->losing_rounds > 0 ? "loss" : "none") + "\">" +
         number(of->lost()) + "</b></td>";
}

std::string value_cell(const form_result* of, std::int64_t tally::*field) {
  return "<td class=\"wide\">" + (of == nullptr ? "&ndash;" : number(of->worst.*field)) + "</td>";
}

std::string price_cell(const form_result* of) {
  const cost_point* const alone = of == nullptr ? nullptr : of->cost_at(1);
  return "<td class=\"wide\">" + (alone == nullptr ? "&ndash;" : duration(alone->median)) + "</td>";
}

std::string summary_row(const scenario_result& of) {
  const form_result* const naive = of.first(role::naive);
  const form_result* const fixed = of.first(role::fixed);
  return "<tr><th scope=\"row\"><a href=\"#" + escape(of.of->name) + "\">" + escape(of.of->name) +
         "</a></th>" + value_cell(naive, &tally::expected) + value_cell(naive, &tally::got) +
         lost_cell(naive) + value_cell(fixed, &tally::got) + lost_cell(fixed) + price_cell(naive) +
         price_cell(fixed) + "<td class=\"words wide\">" + escape(of.of->cure) + "</td></tr>\n";
}

std::string summary(const run_result& run) {
  std::string out =
      R"html(<section aria-labelledby="summary-title">
<h2 id="summary-title" class="aside">All races</h2>
<table class="summary"><thead><tr><td></td><td class="wide"></td>
<th scope="colgroup" class="group lossy wide" colspan="2">naive</th><th scope="col" class="group lossy narrow">naive</th>
<th scope="colgroup" class="group wide" colspan="2">fixed</th><th scope="col" class="group narrow">fixed</th>
<th scope="colgroup" class="group wide" colspan="2">per operation</th><td class="wide"></td></tr>
<tr><th scope="col">race</th><th scope="col" class="wide">expected</th>
<th scope="col" class="wide">got</th><th scope="col">lost</th>
<th scope="col" class="wide">got</th><th scope="col">lost</th>
<th scope="col" class="wide">naive</th><th scope="col" class="wide">fixed</th>
<th scope="col" class="words wide">ended by</th></tr></thead><tbody>
)html";
  for (const scenario_result& each : run.scenarios) out += summary_row(each);
  return out +
         R"html(</tbody></table>
<p class="note">A round runs the story once. <em>Got</em> and <em>lost</em> of a naive form are those
of its worst round; a fixed form's <em>lost</em> adds up all its rounds. <em>Per operation</em> is
wall time at one thread, without the story's window. )html" +
         (run.engine.empty() ? "Naive forms use relaxed atomics: what loses is the logic."
                             : "Each request of a naive form is atomic: what loses is the logic.") +
         "</p>\n</section>\n";
}

std::string numbers_table(const scenario_result& of) {
  std::string out =
      "<details><summary>The numbers</summary><div class=\"scroll\"><table><thead><tr>"
      "<th scope=\"col\">form</th><th scope=\"col\">expected</th><th scope=\"col\">got</th>"
      "<th scope=\"col\">lost</th><th scope=\"col\">rounds</th>"
      "<th scope=\"col\">losing</th><th scope=\"col\">seed</th></tr></thead><tbody>\n";
  for (const form_result& each : of.forms) {
    if (each.rounds == 0) continue;
    out += "<tr><th scope=\"row\">" + escape(each.of->name) + "</th><td>" +
           number(each.worst.expected) + "</td><td>" + number(each.worst.got) + "</td><td>" +
           number(each.lost()) + "</td><td>" + number(each.rounds) + "</td><td>" +
           number(each.losing_rounds) + "</td><td>" + std::to_string(each.worst_seed) +
           "</td></tr>\n";
  }
  return out + "</tbody></table></div></details>\n";
}

std::string lost_picture(const scenario_result& of) {
  const form_result* const naive = of.first(role::naive);
  std::string out = "<figure class=\"lost\"><figcaption><h3>What was lost: <em>" +
                    escape(of.of->unit) + "</em></h3>";
  if (naive != nullptr) {
    out += "<p class=\"key\"><i class=\"key-line\"></i>expected " + number(naive->worst.expected) +
           "<i class=\"key-hatch\"></i>how far off it was</p>";
  }
  return out + "</figcaption>\n" + bars(of) + numbers_table(of) + "</figure>\n";
}

std::string losing_rounds(const scenario_result& of) {
  std::string out;
  for (const form_result& each : of.forms) {
    if (!each.losing_round) continue;
    const tally& end = each.losing_round->end;
    out += "<figure class=\"round " + std::string(style_of(each.of->kind)) +
           "\"><figcaption><h3>How <em>" + escape(each.of->name) +
           "</em> loses</h3><p class=\"key\">a small round that really ran: expected " +
           number(end.expected) + ", got " + number(end.got) + "</p></figcaption>\n" +
           steps(*each.losing_round) + "</figure>\n";
  }
  return out;
}

// What the explorer found of each form: the interleaving that loses it, or that there is none.
std::string explored_figures(const scenario_result& of) {
  std::string out;
  std::string proofs;
  for (const explored_form& each : of.explored) {
    if (each.losing && !each.losing->events.empty()) {
      out += "<figure class=\"round explored " + std::string(style_of(each.of->kind)) +
             "\"><figcaption><h3>An interleaving that loses <em>" + escape(each.of->name) +
             "</em></h3><p class=\"key\">found by the model explorer: " + escape(each.verdict()) +
             (each.race.empty() ? "" : "; with a plain variable for the atomic, a data race on top") +
             "</p></figcaption>\n" + steps(*each.losing) + "</figure>\n";
    } else {
      const char* const mark = each.as_told() ? "none" : "loss";
      proofs += "<li><b>" + escape(each.of->name) + "</b>: <span class=\"" + mark + "\">" +
                escape(each.verdict()) + "</span></li>\n";
    }
  }
  if (proofs.empty()) return out;
  return out + "<div class=\"explored\"><h3>Every interleaving of what ends it</h3><ul>" + proofs +
         "</ul></div>\n";
}

std::string cost_picture(const scenario_result& of, unsigned cpus) {
  const std::string chart = cost_chart(of, cpus);
  if (chart.empty()) return "";
  return "<figure class=\"price\"><figcaption><h3>What it costs</h3><p class=\"key\">wall time per "
         "operation as each thread sees it; whiskers from the fastest to the slowest "
         "repetition</p>"
         "</figcaption>\n" +
         chart + "<details><summary>The numbers</summary><div class=\"scroll\">" + cost_table(of) +
         "</div></details></figure>\n";
}

std::string cure(const scenario_result& of) {
  return "<div class=\"cure\"><h3>What ends it</h3><p class=\"types\">" + escape(of.of->cure) +
         "</p><p>" + escape(of.of->moral) + "</p></div>\n";
}

std::string intro(const scenario_result& of) {
  const std::string name = escape(of.of->name);
  return "<section class=\"race\" id=\"" + name + "\" aria-labelledby=\"" + name +
         "-title\">\n<div class=\"intro\"><h2 id=\"" + name + "-title\">" + name +
         "</h2><a class=\"up\" href=\"#top\">all races</a>\n<p class=\"story\">" +
         escape(of.of->story) + "</p>\n<p class=\"numbers\">" + escape(of.of->numbers) +
         "</p></div>\n";
}

// Two columns on a wide screen, what is lost and its price beside how it is lost and what ends it;
// without a price, what ends it takes that place.
std::string section(const scenario_result& of, unsigned cpus) {
  const std::string price = cost_picture(of, cpus);
  std::string out = intro(of) + lost_picture(of);
  out += "<div class=\"why\">\n" + losing_rounds(of) + explored_figures(of) +
         (price.empty() ? "" : cure(of)) + "</div>\n";
  return out + (price.empty() ? cure(of) : price) + "</section>\n";
}

std::string explored_section(const scenario_result& of) {
  return intro(of) + "<div class=\"why\">\n" + explored_figures(of) + "</div>\n" + cure(of) +
         "</section>\n";
}

std::string machine_block(const run_result& run, const machine& how) {
  std::string out =
      "<section class=\"machine\" aria-labelledby=\"machine-title\">\n"
      "<h2 id=\"machine-title\">Machine and run</h2>\n<dl>\n";
  for (const auto& [label, value] : how.facts) {
    out += "<div><dt>" + escape(label) + "</dt><dd>" + escape(value) + "</dd></div>\n";
  }
  if (run.only_explored) return out + "</dl>\n</section>\n";
  return out + "<div><dt>Took</dt><dd>" + fixed_point(run.seconds, 1) +
         " s</dd></div>\n</dl>\n</section>\n";
}

}  // namespace

std::string report(const run_result& run, const machine& how) {
  std::string out = head() + "<main id=\"top\">\n" + opening(run);
  if (!run.only_explored) out += summary(run);
  for (const scenario_result& each : run.scenarios) {
    out += run.only_explored ? explored_section(each) : section(each, how.cpus);
  }
  return out + machine_block(run, how) + "</main>\n</body>\n</html>\n";
}

}  // namespace lab
