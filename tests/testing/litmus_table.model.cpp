// SPDX-License-Identifier: BSL-1.0
// Litmus tests by the table: each line is a program with its orders and all outcomes that C++20
// (RC11) allows, no more and no fewer. The expected sets are written by hand; the explorer and the
// axioms of oracle.hpp must both give them, and the same number of executions.
//
// Names as in the literature (herd, cppmem). Sources of what is not plain reasoning: the RC11 paper
// (Lahav and others, PLDI 2017), P0668 (seq_cst), P0982 (release sequences).

#include "litmus.hpp"

namespace {

using litmus::family;

// ---- message passing ----------------------------------------------------------------------------

const std::vector<family> message_passing = {
    {"MP", "x.rlx=1; y.$1=1 | a=y.$2; b=x.rlx", "a b",
     {{"rlx rlx", "all"},
      {"rel rlx", "all"},
      {"rlx acq", "all"},
      {"rel acq", "not 1 0"},
      {"rel con", "not 1 0"},  // consume is acquire
      {"sc acq", "not 1 0"},
      {"rel sc", "not 1 0"},
      {"sc sc", "not 1 0"},
      {"sc rlx", "all"},
      {"rlx sc", "all"}}},
    {"MP by fences", "x.rlx=1; F.$1; y.rlx=1 | a=y.rlx; F.$2; b=x.rlx", "a b",
     {{"rel acq", "not 1 0"},
      {"ar ar", "not 1 0"},
      {"sc sc", "not 1 0"},
      {"sc acq", "not 1 0"},
      {"rel sc", "not 1 0"},
      {"rel none", "all"},
      {"none acq", "all"},
      {"none sc", "all"},
      {"sc none", "all"},
      {"acq acq", "all"},
      {"rel rel", "all"}}},
    {"MP, a fence on one side", "x.rlx=1; F.$1; y.$2=1 | a=y.$3; F.$4; b=x.rlx", "a b",
     {{"none rel rlx acq", "not 1 0"},
      {"rel rlx acq none", "not 1 0"},
      {"none rel rlx rel", "all"},
      {"acq rlx acq none", "all"}}},
    {"MP, the fence on the wrong side of the access",
     "x.rlx=1; y.$1=1; F.rel | F.acq; a=y.$2; b=x.rlx", "a b",
     {{"rlx acq", "all"}, {"rel rlx", "all"}}},
    {"MP, the flag is set by an update", "x.rlx=1; y.$1 += 1 | a=y.acq; b=x.rlx", "a b",
     {{"rlx", "all"}, {"acq", "all"}, {"rel", "not 1 0"}, {"ar", "not 1 0"}, {"sc", "not 1 0"}}},
    {"MP, the flag is read by an update", "x.rlx=1; y.rel=1 | a=y.$1 += 0; b=x.rlx", "a b",
     {{"rlx", "all"}, {"rel", "all"}, {"acq", "not 1 0"}, {"ar", "not 1 0"}, {"sc", "not 1 0"}}},
    {"MP, the flag is taken by an exchange", "x.rlx=1; y.rel=1 | a=y.$1 := 0; b=x.rlx", "a b",
     {{"rlx", "all"}, {"acq", "not 1 0"}}},
    {"MP, a compare_exchange that succeeds", "x.rlx=1; y.rel=1 | a=y.$1/$2 ? 1 : 2; b=x.rlx", "a b",
     {{"acq rlx", "0 0, 0 1, 1 1"},
      {"rlx rlx", "0 0, 0 1, 1 0, 1 1"},
      {"rel rlx", "0 0, 0 1, 1 0, 1 1"},
      {"rlx acq", "0 0, 0 1, 1 0, 1 1"},  // a failure order says nothing of a success
      {"ar acq", "0 0, 0 1, 1 1"},
      {"sc sc", "0 0, 0 1, 1 1"}}},
    {"MP, a compare_exchange that fails", "x.rlx=1; y.rel=1 | a=y.$1/$2 ? 9 : 2; b=x.rlx", "a b",
     {{"acq rlx", "0 0, 0 1, 1 0, 1 1"},  // a success order says nothing of a failure
      {"sc rlx", "0 0, 0 1, 1 0, 1 1"},
      {"acq acq", "0 0, 0 1, 1 1"},
      {"rlx acq", "0 0, 0 1, 1 1"},
      {"ar acq", "0 0, 0 1, 1 1"},
      {"sc sc", "0 0, 0 1, 1 1"}}},
    {"MP with a consumer that waits", "x.rlx=1; y.$1=1 | wait y.$2 == 1; b=x.rlx", "b",
     {{"rel acq", "1"}, {"rel rlx", "0, 1"}, {"rlx acq", "0, 1"}}},
    {"MP, a condition orders nothing", "x.rlx=1; y.rel=1 | a=y.$1; if a==1: b=x.rlx", "a b",
     {{"rlx", "0 0, 1 0, 1 1"}, {"acq", "0 0, 1 1"}}},
};

// ---- store buffering ----------------------------------------------------------------------------

const std::vector<family> store_buffering = {
    {"SB", "x.$1=1; a=y.$2 | y.$3=1; b=x.$4", "a b",
     {{"rlx rlx rlx rlx", "all"},
      {"rel acq rel acq", "all"},
      {"sc acq sc acq", "all"},
      {"rel sc rel sc", "all"},
      {"sc sc sc acq", "all"},
      {"sc sc rel sc", "all"},
      {"sc sc sc rlx", "all"},
      {"sc sc sc sc", "not 0 0"}}},
    {"SB by fences", "x.rlx=1; F.$1; a=y.rlx | y.rlx=1; F.$2; b=x.rlx", "a b",
     {{"sc sc", "not 0 0"},
      {"sc ar", "all"},
      {"ar ar", "all"},
      {"rel acq", "all"},
      {"sc none", "all"}}},
    {"SB, a fence here and accesses there", "x.rlx=1; F.$1; a=y.rlx | y.$2=1; b=x.$3", "a b",
     {{"sc sc sc", "not 0 0"},
      {"sc sc acq", "all"},
      {"sc rel sc", "all"},
      {"ar sc sc", "all"}}},
    {"SB, the parking lot of folly", "x.rel=1; F.$1; a=y.sc | y.sc += 1; b=x.sc", "a b",
     {{"none", "all"}, {"ar", "all"}, {"sc", "not 0 0"}}},
    {"SB, stores by exchange", "x.$1 := 1; a=y.$2 | y.$1 := 1; b=x.$2", "a b",
     {{"sc sc", "not 0 0"}, {"sc acq", "all"}, {"ar acq", "all"}, {"rlx rlx", "all"}}},
    {"SB, loads by an addition of nothing", "x.$1=1; a=y.$2 += 0 | y.$1=1; b=x.$2 += 0", "a b",
     {{"rlx ar", "all"}, {"sc rlx", "all"}, {"sc sc", "not 0 0"}}},
    {"SB, updates alone", "x.$1 := 1; a=y.$1 += 0 | y.$1 := 1; b=x.$1 += 0", "a b",
     // Relaxed ones would make a cycle of po and rf: outside of RC11.
     {{"rlx", "not 0 0"}, {"ar", "not 0 0"}, {"sc", "not 0 0"}}},
    {"SB, an update of a third object between", "x.rlx=1; z.$1 += 1; a=y.rlx | y.rlx=1; z.$1 += 1; "
     "b=x.rlx", "a b",
     {{"rlx", "all"}, {"acq", "all"}, {"rel", "all"}, {"ar", "not 0 0"}, {"sc", "not 0 0"}}},
    {"SB, failed compare_exchange", "x.$1=1; a=y.$2/$3 ? 9 : 8 | y.$1=1; b=x.$2/$3 ? 9 : 8", "a b",
     {{"rel acq acq", "0 0, 0 1, 1 0, 1 1"},
      {"sc sc acq", "0 0, 0 1, 1 0, 1 1"},
      {"rel sc sc", "0 0, 0 1, 1 0, 1 1"},
      {"sc sc sc", "0 1, 1 0, 1 1"}}},
    {"SB on one object", "x.$1=1; a=x.$1 | x.$1=2; b=x.$1", "a b",
     {{"sc", "1 1, 1 2, 2 2"}}},
    {"3.SB", "x.$1=1; F.$3; a=y.$2 | y.$1=1; F.$3; b=z.$2 | z.$1=1; F.$3; c=x.$2", "a b c",
     {{"rlx rlx none", "all"},
      {"rel acq none", "all"},
      {"sc sc none", "not 0 0 0"},
      {"rlx rlx sc", "not 0 0 0"},
      {"rlx rlx ar", "all"}}},
};

// ---- load buffering: outside of RC11 ------------------------------------------------------------

const std::vector<family> load_buffering = {
    {"LB", "a=y.$1; x.$2=1 | b=x.$1; y.$2=1", "a b",
     {{"rlx rlx", "not 1 1"},
      {"acq rlx", "not 1 1"},
      {"rlx rel", "not 1 1"},
      {"sc sc", "not 1 1"}}},
    {"LB, out of thin air", "a=y.rlx; x.rlx=a | b=x.rlx; y.rlx=b", "a b", {{"", "0 0"}}},
    {"LB, each under the other's condition",
     "a=y.rlx; if a==1: x.rlx=1 | b=x.rlx; if b==1: y.rlx=1", "a b", {{"", "0 0"}}},
    {"LB, a value and a constant", "a=y.rlx; x.rlx=a | b=x.rlx; y.rlx=1", "a b",
     {{"", "0 0, 1 0"}}},
    {"LB by updates", "a=y.$1 += 0; x.rlx=1 | b=x.$1 += 0; y.rlx=1", "a b",
     {{"rlx", "not 1 1"}}},
    {"3.LB", "a=y.$1; x.$2=1 | b=z.$1; y.$2=1 | c=x.$1; z.$2=1", "a b c",
     {{"rlx rlx", "not 1 1 1"}, {"acq rel", "not 1 1 1"}}},
};

// ---- coherence: one object ----------------------------------------------------------------------

const std::vector<family> coherence = {
    {"CoRR", "x.$1=1; x.$1=2 | a=x.$2; b=x.$2", "a b",
     {{"rlx rlx", "0 0, 0 1, 0 2, 1 1, 1 2, 2 2"}, {"sc sc", "0 0, 0 1, 0 2, 1 1, 1 2, 2 2"}}},
    {"CoRR, two writers", "x.rlx=1 | x.rlx=2 | a=x.rlx; b=x.rlx", "a b",
     {{"", "0 0, 0 1, 0 2, 1 1, 1 2, 2 1, 2 2"}}},
    {"CoRR, the last value is not seen before", "x.rlx=1 | x.rlx=2 | a=x.rlx; b=x.rlx", "a b x",
     {{"", "0 0 1, 0 0 2, 0 1 1, 0 1 2, 0 2 1, 0 2 2, 1 1 1, 1 1 2, 1 2 2, 2 1 1, 2 2 1, 2 2 2"}}},
    {"CoWW", "x.$1=1; x.$1=2", "x", {{"rlx", "2"}, {"rel", "2"}, {"sc", "2"}}},
    {"CoWR", "x.$1=1; a=x.$2 | x.$1=2", "a x",
     {{"rlx rlx", "1 1, 1 2, 2 2"}, {"sc sc", "1 1, 1 2, 2 2"}}},
    {"CoRW", "a=x.$1; x.$2=1 | x.$2=2", "a x",
     {{"rlx rlx", "0 1, 0 2, 2 1"}, {"sc sc", "0 1, 0 2, 2 1"}}},
    {"CoRW, own store is not read before", "a=x.rlx; x.rlx=1", "a", {{"", "0"}}},
    {"coherence over another object", "x.rlx=1; y.$1=1; x.rlx=2 | a=y.$2; b=x.rlx", "a b",
     {{"rel acq", "0 0, 0 1, 0 2, 1 1, 1 2"}, {"rlx rlx", "all"}}},
    {"CoWR over another object: what happened before is not overwritten by older",
     "x.rlx=1; y.rel=1 | a=y.acq; x.rlx=2", "a x", {{"", "0 1, 0 2, 1 2"}}},
    {"CoRR over another object", "x.rlx=1 | a=x.rlx; y.rel=1 | b=y.acq; c=x.rlx", "a b c",
     {{"", "not 1 1 0"}}},
    {"history: the eighth newest value",
     "x.rlx=1; x.rlx=2; x.rlx=3; x.rlx=4; x.rlx=5; x.rlx=6; x.rlx=7; x.rlx=8 | a=x.rlx", "a",
     {{"", "0, 1, 2, 3, 4, 5, 6, 7, 8"}}},
    {"history: release and acquire do not make a read newer",
     "x.rel=1; x.rel=2; x.rel=3; x.rel=4; x.rel=5 | a=x.acq", "a", {{"", "0, 1, 2, 3, 4, 5"}}},
    {"history: a failed compare_exchange reads any of them",
     "x.rlx=1; x.rlx=2; x.rlx=3; x.rlx=4 | a=x.sc/acq ? 9 : 8", "a", {{"", "0, 1, 2, 3, 4"}}},
};

// ---- two stores each ----------------------------------------------------------------------------

const std::vector<family> store_orders = {
    {"2+2W", "x.$1=1; F.$2; y.$1=2 | y.$1=1; F.$3; x.$1=2", "x y",
     {{"rlx none none", "all"},
      {"rel none none", "all"},
      {"sc none none", "not 1 1"},
      {"rlx sc sc", "not 1 1"},
      {"rlx ar ar", "all"},
      {"rlx sc none", "all"}}},
    {"2+2W, one store not seq_cst", "x.sc=1; y.sc=2 | y.sc=1; x.$1=2", "x y",
     {{"rel", "all"}, {"sc", "not 1 1"}}},
    {"2+2W by exchange", "x.$1 := 1; y.$1 := 2 | y.$1 := 1; x.$1 := 2", "x y",
     {{"rlx", "not 1 1"}, {"ar", "not 1 1"}, {"sc", "not 1 1"}}},  // rlx: po and rf make a cycle
    {"S", "x.rlx=2; F.$1; y.$2=1 | a=y.$3; F.$4; x.rlx=1", "a x",
     {{"none rel acq none", "not 1 2"},
      {"none rlx acq none", "all"},
      {"none rel rlx none", "all"},
      {"rel rlx rlx acq", "not 1 2"},
      {"none rlx rlx sc", "all"},
      {"none sc sc none", "not 1 2"}}},
    {"S with a value that depends", "x.rlx=2; y.$1=1 | a=y.rlx; x.rlx=a", "a x",
     {{"rel", "0 0, 0 2, 1 1, 1 2"}}},
    {"R", "x.$1=1; F.$3; y.$1=1 | y.$1=2; F.$4; a=x.$2", "a y",
     {{"rlx rlx none none", "all"},
      {"rel acq none none", "all"},
      {"sc acq none none", "all"},
      {"sc sc none none", "not 0 2"},
      {"rlx rlx sc sc", "not 0 2"},
      {"rlx rlx sc ar", "all"},
      {"rlx rlx none sc", "all"}}},
    {"R, a fence here and accesses there", "x.rlx=1; F.sc; y.rlx=1 | y.$1=2; a=x.$2", "a y",
     {{"sc sc", "not 0 2"}, {"sc acq", "all"}, {"rel sc", "all"}}},
    {"3.2W", "x.$1=1; F.$2; y.$1=2 | y.$1=1; F.$2; z.$1=2 | z.$1=1; F.$2; x.$1=2", "x y z",
     {{"rel none", "all"}, {"sc none", "not 1 1 1"}, {"rlx sc", "not 1 1 1"}}},
};

// ---- three threads: cycles of six accesses ------------------------------------------------------

const std::vector<family> three_threads = {
    {"ISA2", "x.rlx=1; y.$1=1 | a=y.$2; z.$3=1 | b=z.$4; c=x.rlx", "a b c",
     {{"rel acq rel acq", "not 1 1 0"},
      {"rlx acq rel acq", "all"},
      {"rel rlx rel acq", "all"},
      {"rel acq rlx acq", "all"},
      {"rel acq rel rlx", "all"},
      {"rel con rel con", "not 1 1 0"},
      {"sc sc sc sc", "not 1 1 0"}}},
    {"ISA2 by fences", "x.rlx=1; F.$1; y.rlx=1 | a=y.rlx; F.$2; z.rlx=1 | b=z.rlx; F.$3; c=x.rlx",
     "a b c",
     {{"rel ar acq", "not 1 1 0"},
      {"rel acq acq", "all"},
      {"rel rel acq", "all"},
      {"sc sc sc", "not 1 1 0"}}},
    {"WRC", "x.$1=1 | a=x.$2; y.$3=1 | b=y.$4; c=x.rlx", "a b c",
     {{"rel acq rel acq", "not 1 1 0"},
      {"rlx rlx rlx acq", "all"},
      {"rlx rlx rel rlx", "all"},
      {"sc sc rlx rlx", "all"}}},
    {"WRC by fences", "x.rlx=1 | a=x.rlx; F.$1; y.rlx=1 | b=y.rlx; F.$2; c=x.rlx", "a b c",
     {{"rel acq", "not 1 1 0"}, {"acq acq", "all"}, {"sc sc", "not 1 1 0"}, {"sc none", "all"}}},
    {"WRC with a value that depends", "x.rlx=1 | a=x.rlx; y.rlx=a | b=y.rlx; c=x.rlx", "a b c",
     {{"", "0 0 0, 0 0 1, 1 0 0, 1 0 1, 1 1 0, 1 1 1"}}},
    {"WRW+2W", "x.rlx=2 | a=x.rlx; y.$1=1 | b=y.$2; x.rlx=1", "a b x",
     {{"rel acq", "0 0 1, 0 0 2, 0 1 1, 0 1 2, 1 0 1, 1 0 2, 2 0 1, 2 0 2, 2 1 1"},
      {"rlx acq", "0 0 1, 0 0 2, 0 1 1, 0 1 2, 1 0 1, 1 0 2, 2 0 1, 2 0 2, 2 1 1, 2 1 2"}}},
    {"RWC", "x.$1=1 | a=x.$2; b=y.$3 | y.$4=1; c=x.$5", "a b c",
     {{"rlx rlx rlx rlx rlx", "all"},
      {"rel acq acq rel acq", "all"},
      {"sc sc sc sc sc", "not 1 0 0"},
      {"sc acq sc sc sc", "all"},
      {"rel sc sc sc sc", "all"},
      {"sc sc sc rel sc", "all"}}},
    {"RWC by fences", "x.rlx=1 | a=x.rlx; F.$1; b=y.rlx | y.rlx=1; F.$2; c=x.rlx", "a b c",
     {{"sc sc", "not 1 0 0"}, {"sc none", "all"}, {"ar sc", "all"}, {"none sc", "all"}}},
    {"W+RWC", "x.$1=1; z.$2=1 | a=z.$3; F.$4; b=y.$5 | y.$6=1; F.$7; c=x.$8", "a b c",
     {{"rlx rel acq sc rlx rlx sc rlx", "not 1 0 0"},
      {"rlx rel acq sc rlx rlx none rlx", "all"},
      {"rlx rel acq none rlx rlx sc rlx", "all"},
      {"rlx rlx rlx sc rlx rlx sc rlx", "all"},
      {"sc sc sc none sc sc none sc", "not 1 0 0"},
      {"sc rel acq none sc sc none sc", "not 1 0 0"},  // po, hb, po between seq_cst accesses
      {"sc rlx acq none sc sc none sc", "all"},
      {"rlx rel acq none sc sc none sc", "all"}}},
    {"Z6 (co rf fr)", "x.$1=1; F.$3; y.$1=1 | y.$1=2; F.$3; z.$1=1 | a=z.$2; F.$3; b=x.$2", "a b y",
     {{"rlx rlx none", "all"},
      {"rel acq none", "all"},
      {"sc sc none", "not 1 0 2"},
      {"rlx rlx sc", "not 1 0 2"}}},
    {"Z6 (co fr rf)", "x.$1=1; F.$3; y.$1=1 | y.$1=2; F.$3; a=z.$2 | z.$1=1; F.$3; b=x.$2", "a b y",
     {{"rel acq none", "all"}, {"sc sc none", "not 0 0 2"}, {"rlx rlx sc", "not 0 0 2"}}},
    {"Z6 (co rf co)", "x.$1=2; F.$3; y.$1=1 | y.$1=2; F.$3; z.$1=1 | a=z.$2; F.$3; x.$1=1", "a x y",
     {{"rel acq none", "all"}, {"sc sc none", "not 1 2 2"}, {"rlx rlx sc", "not 1 2 2"}}},
    {"Z6 (rf rf co)", "x.$1=2; F.$3; y.$1=1 | a=y.$2; F.$3; z.$1=1 | b=z.$2; F.$3; x.$1=1", "a b x",
     {{"rlx rlx none", "all"},
      {"rel acq none", "not 1 1 2"},
      {"sc sc none", "not 1 1 2"},
      {"rlx rlx ar", "not 1 1 2"}}},
    {"Z6 (rf co fr)", "x.$1=1; F.$3; y.$1=1 | a=y.$2; F.$3; z.$1=1 | z.$1=2; F.$3; b=x.$2", "a b z",
     {{"rel acq none", "all"}, {"sc sc none", "not 1 0 2"}, {"rlx rlx sc", "not 1 0 2"}}},
    {"Z6 (co co fr)", "x.$1=1; F.$3; y.$1=1 | y.$1=2; F.$3; z.$1=1 | z.$1=2; F.$3; a=x.$2", "a y z",
     {{"rel acq none", "all"}, {"sc sc none", "not 0 2 2"}, {"rlx rlx sc", "not 0 2 2"}}},
};

// ---- four threads -------------------------------------------------------------------------------

const std::vector<family> four_threads = {
    {"IRIW", "x.$1=1 | y.$1=1 | a=x.$2; b=y.$3 | c=y.$2; d=x.$3", "a b c d",
     {{"rlx rlx rlx", "all"},
      {"rel acq acq", "all"},
      {"sc acq acq", "all"},
      {"rel sc sc", "all"},
      {"sc acq sc", "all"},  // the RC11 paper: C++11 forbade it, POWER shows it
      {"sc sc acq", "all"},
      {"sc sc sc", "not 1 0 1 0"}}},
    {"IRIW by fences", "x.rlx=1 | y.rlx=1 | a=x.rlx; F.$1; b=y.rlx | c=y.rlx; F.$2; d=x.rlx",
     "a b c d",
     {{"sc sc", "not 1 0 1 0"}, {"ar ar", "all"}, {"sc ar", "all"}, {"sc none", "all"}}},
    {"IRIW, readers add nothing", "x.rlx=1 | y.rlx=1 | a=x.$1 += 0; b=y.$1 += 0 | c=y.$1 += 0; "
     "d=x.$1 += 0", "a b c d",
     {{"rlx", "all"}, {"ar", "all"}}},  // the stores are not updates: no sequence goes on
};

// ---- release sequences (C++20) ------------------------------------------------------------------

const std::vector<family> release_sequences = {
    {"an update by another thread continues it", "x.rlx=1; y.rel=1 | y.$1 += 1 | a=y.acq; b=x.rlx",
     "a b",
     {{"rlx", "0 0, 0 1, 1 0, 1 1, 2 1"}, {"ar", "0 0, 0 1, 1 0, 1 1, 2 1"}}},
    {"P0982: a store of the same thread ends it", "x.rlx=1; y.rel=1; y.$1=2 | a=y.acq; b=x.rlx",
     "a b",
     {{"rlx", "0 0, 0 1, 1 1, 2 0, 2 1"}, {"rel", "0 0, 0 1, 1 1, 2 1"}}},
    {"an update of the same thread continues it", "x.rlx=1; y.rel=1; y.rlx += 1 | a=y.acq; b=x.rlx",
     "a b", {{"", "0 0, 0 1, 1 1, 2 1"}}},
    {"a store of another thread ends it", "x.rlx=1; y.rel=1 | y.rlx=2 | a=y.acq; b=x.rlx", "a b",
     {{"", "0 0, 0 1, 1 1, 2 0, 2 1"}}},
    {"an update of a relaxed store begins none",
     "x.rlx=1; y.rlx=1 | y.ar += 1 | a=y.acq; b=x.rlx", "a b",
     {{"", "0 0, 0 1, 1 0, 1 1, 2 0, 2 1"}}},
    {"a chain of two updates", "x.rlx=1; y.rel=1 | y.rlx += 10 | y.rlx += 100 | a=y.acq; b=x.rlx",
     "a b",
     {{"", "0 0, 0 1, 1 1, 10 0, 10 1, 11 1, 100 0, 100 1, 101 1, 110 0, 110 1, 111 1"}}},
    {"a compare_exchange continues it", "x.rlx=1; y.rel=1 | y.rlx ? 1 : 2 | a=y.acq; b=x.rlx",
     "a b",
     {{"", "0 0, 0 1, 1 1, 2 1"}}},
    {"an exchange continues it, if it took the head",
     "x.rlx=1; y.rel=1 | c=y.rlx := 2 | a=y.acq; b=x.rlx", "c a b",
     {{"", "0 0 0, 0 0 1, 0 2 0, 0 2 1, 0 1 1, 1 0 0, 1 0 1, 1 1 1, 1 2 1"}}},
    {"it begins at a release fence", "x.rlx=1; F.rel; y.rlx=1 | y.rlx += 1 | a=y.acq; b=x.rlx",
     "a b", {{"", "0 0, 0 1, 1 0, 1 1, 2 1"}}},
    {"it reaches an acquire fence", "x.rlx=1; y.rel=1 | y.rlx += 1 | a=y.rlx; F.acq; b=x.rlx",
     "a b",
     {{"", "0 0, 0 1, 1 0, 1 1, 2 1"}}},
    {"two heads: a release update within a sequence",
     "x.rlx=1; y.rel=1 | z.rlx=1; y.rel += 1 | a=y.acq; b=x.rlx; c=z.rlx", "a b c",
     {{"", "0 0 0, 0 0 1, 0 1 0, 0 1 1, 1 0 1, 1 1 0, 1 1 1, 2 1 1"}}},
    {"an update that acquires in the middle passes nothing on unless it releases",
     "x.rlx=1; y.rel=1 | a=y.acq += 1; z.$1=1 | b=z.acq; c=x.rlx", "a b c",
     {{"rlx", "all"}, {"rel", "not 1 1 0"}}},
    {"the fence of one store does not serve a later store of another object",
     "x.rlx=1; F.rel; y.rlx=1; z.rlx=1 | a=z.acq; b=x.rlx", "a b", {{"", "not 1 0"}}},
    {"what comes after the fence is not covered by it",
     "F.rel; x.rlx=1; y.rlx=1 | a=y.acq; b=x.rlx", "a b", {{"", "all"}}},
};

// ---- updates ------------------------------------------------------------------------------------

const std::vector<family> updates = {
    {"two additions", "a=x.$1 += 1 | b=x.$1 += 1", "a b",
     {{"rlx", "0 1, 1 0"}, {"acq", "0 1, 1 0"}, {"sc", "0 1, 1 0"}}},
    {"three additions", "a=x.rlx += 1 | b=x.rlx += 1 | c=x.rlx += 1", "a b c",
     {{"", "0 1 2, 0 2 1, 1 0 2, 1 2 0, 2 0 1, 2 1 0"}}},
    {"two exchanges", "a=x.rlx := 1 | b=x.rlx := 2", "a b x", {{"", "0 1 2, 2 0 1"}}},
    {"one compare_exchange wins", "a=x.$1/rlx ? 0 : 1 | b=x.$1/rlx ? 0 : 2", "a b x",
     {{"rlx", "0 1 1, 2 0 2"}, {"sc", "0 1 1, 2 0 2"}}},
    {"an addition and a store", "x.rlx=5 | a=x.rlx += 1", "a x", {{"", "0 5, 5 6"}}},
    {"an addition among two stores", "x.rlx=1; x.rlx=2 | a=x.rlx += 10", "a x",
     {{"", "0 2, 1 2, 2 12"}}},
    {"a failed compare_exchange writes nothing", "x.rlx=1; x.rlx=2 | a=x.rlx ? 2 : 9", "a x",
     {{"", "0 2, 1 2, 2 9"}}},
    {"an addition by load and store is none", "a=x.sc; x.sc=a+1 | b=x.sc; x.sc=b+1", "a b x",
     {{"", "0 0 1, 0 1 2, 1 0 2"}}},
    {"a compare_exchange that tries again", "a=x.rlx ? 0 : 1; if a!=0: b=x.rlx ? a : 3 | x.rlx=2",
     "a b x", {{"", "0 0 2, 2 2 3"}}},
    {"ABA: an equal value is taken for the same", "x.rlx=1; x.rlx=0 | a=x.rlx ? 0 : 7", "a x",
     {{"", "0 0, 0 7, 1 0"}}},
};

// ---- seq_cst mixed with others ------------------------------------------------------------------

const std::vector<family> mixed = {
    {"Z6.U (P0668): a total order that disagrees with happens before",
     "x.sc=1; y.rel=1 | a=y.$1 += 1; b=y.rlx | y.sc=3; c=x.sc", "a b c",
     {{"sc",
       "0 1 0, 0 1 1, 0 3 0, 0 3 1, 1 2 0, 1 2 1, 1 3 0, 1 3 1, 3 1 0, 3 1 1, 3 4 0, 3 4 1"}}},
    {"a seq_cst load of a relaxed store orders nothing", "x.rlx=1; a=y.sc | y.rlx=1; b=x.sc", "a b",
     {{"", "all"}}},
    {"a relaxed store between seq_cst accesses of its object",
     "x.sc=1; x.rlx=2; a=y.sc | y.sc=1; b=x.sc", "a b", {{"", "0 1, 0 2, 1 0, 1 1, 1 2"}}},
    {"seq_cst stores alone", "x.sc=1; y.sc=1 | a=y.rlx; b=x.rlx", "a b", {{"", "all"}}},
    {"seq_cst loads alone", "x.rlx=1; y.rlx=1 | a=y.sc; b=x.sc", "a b", {{"", "all"}}},
    {"what was read before a fence is not replaced by older after the next one",
     "x.rlx=1 | x.rlx=2 | a=x.rlx; F.$1; b=y.rlx | y.rlx=1; F.$1; c=x.rlx", "a b c",
     {{"sc", "not 1 0 0, 2 0 0"}, {"ar", "all"}}},
    {"SB through a chain of release and acquire", "x.sc=1; y.rel=1 | a=y.acq; b=z.sc | z.sc=1; "
     "c=x.sc", "a b c", {{"", "not 1 0 0"}}},
    {"SB, the chain runs over one object only", "x.sc=1 | a=x.acq; b=z.sc | z.sc=1; c=x.sc",
     "a b c",
     {{"", "all"}}},
    {"SB by seq_cst updates and relaxed loads of the same objects",
     "x.sc += 1; a=y.rlx | y.sc += 1; b=x.rlx", "a b", {{"", "all"}}},
    {"a fence serves accesses further away", "x.rlx=1; z.rlx=1; F.sc; u.rlx=1; a=y.rlx | "
     "y.rlx=1; F.sc; b=x.rlx", "a b", {{"", "not 0 0"}}},
    {"Dekker with a fence after the loads too", "x.rlx=1; F.sc; a=y.rlx; F.sc | y.rlx=1; F.sc; "
     "b=x.rlx; F.sc", "a b", {{"", "not 0 0"}}},
};

// ---- races on plain objects ---------------------------------------------------------------------

const std::vector<family> races = {
    {"two writers", "p=1 | p=2", "", {{"", "race"}}},
    {"a writer and a reader", "p=1 | a=p", "", {{"", "race"}}},
    {"two readers", "a=p | b=p", "a b", {{"", "0 0"}}},
    {"two objects", "p=1 | q=1; a=q", "a", {{"", "1"}}},
    {"published by a flag", "p=1; x.$1=1 | a=x.$2; if a==1: b=p", "a b",
     {{"rel acq", "0 0, 1 1"},
      {"sc sc", "0 0, 1 1"},
      {"rel con", "0 0, 1 1"},
      {"rlx acq", "race"},
      {"rel rlx", "race"},
      {"rlx rlx", "race"}}},
    {"published by a flag that is not looked at", "p=1; x.sc=1 | a=x.sc; b=p", "", {{"", "race"}}},
    {"published by fences", "p=1; F.$1; x.rlx=1 | a=x.rlx; F.$2; if a==1: b=p", "a b",
     {{"rel acq", "0 0, 1 1"},
      {"sc sc", "0 0, 1 1"},
      {"rel none", "race"},
      {"none acq", "race"},
      {"acq rel", "race"}}},
    {"published by an update", "p=1; x.$1 += 1 | a=x.$2 += 1; if a==1: b=p", "a b",
     {{"ar ar", "0 0, 1 1"},
      {"rel acq", "0 0, 1 1"},
      {"acq rel", "race"},
      {"rlx ar", "race"}}},
    {"published by what a failed compare_exchange reads",
     "p=1; x.rel=1 | a=x.$1/$2 ? 9 : 8; if a==1: b=p", "a b",
     {{"sc acq", "0 0, 1 1"}, {"sc rlx", "race"}, {"rlx acq", "0 0, 1 1"}}},
    {"published through a third thread", "p=1; x.rel=1 | wait x.$1 == 1; y.$2=1 | a=y.acq; "
     "if a==1: b=p", "a b",
     {{"acq rel", "0 0, 1 1"}, {"rlx rel", "race"}, {"acq rlx", "race"}}},
    {"published through an update in between", "p=1; x.rel=1 | x.rlx += 1 | a=x.acq; if a==2: b=p",
     "a b", {{"", "0 0, 1 0, 2 1"}}},
    {"published, then the flag is stored again", "p=1; x.rel=1; x.$1=2 | a=x.acq; if a==2: b=p",
     "a b", {{"rlx", "race"}, {"rel", "0 0, 1 0, 2 1"}}},
    {"the last of two owners writes", "a=p; x.$1 += 1 | b=x.$2 += 1; if b==1: p=2", "a b",
     {{"rel acq", "0 0, 0 1"}, {"rlx acq", "race"}, {"rel rlx", "race"}}},
    {"both owners, the last one writes",
     "a=p; c=x.$1 += 1; if c==1: p=2 | b=p; d=x.$1 += 1; if d==1: p=2", "a b",
     {{"ar", "0 0"}, {"rel", "race"}, {"acq", "race"}}},
    {"a lock by exchange, tried once",
     "a=x.$1 := 1; if a==0: p=1; if a==0: x.$2=0 | b=x.$1 := 1; if b==0: p=2", "",
     {{"acq rel", "no race"}, {"rlx rel", "race"}, {"acq rlx", "race"}}},
    {"Dekker, tried once", "x.$1=1; a=y.$2; if a==0: p=1 | y.$1=1; b=x.$2; if b==0: p=2", "",
     {{"sc sc", "no race"}, {"rel acq", "race"}, {"sc acq", "race"}, {"rel sc", "race"}}},
    {"Dekker by fences, tried once",
     "x.rlx=1; F.$1; a=y.rlx; if a==0: p=1 | y.rlx=1; F.$1; b=x.rlx; if b==0: p=2", "",
     {{"sc", "no race"}, {"ar", "race"}}},
    {"Peterson, tried once",
     "x.$1=1; z.$2=2; a=y.$3; b=z.$3; if a==0: p=1; if b==1: p=1 | "
     "y.$1=1; z.$2=1; c=x.$3; d=z.$3; if c==0: p=2; if d==2: p=2", "",
     {{"sc sc sc", "no race"},
      {"rel rel acq", "race"},
      {"rlx sc sc", "race"},
      {"sc rel sc", "race"}}},
    {"Peterson, the turn by exchange",
     "x.rlx=1; z.$1 := 2; a=y.$2; b=z.rlx; if a==0: p=1; if b==1: p=1 | "
     "y.rlx=1; z.$1 := 1; c=x.$2; d=z.rlx; if c==0: p=2; if d==2: p=2", "",
     {{"ar acq", "no race"}, {"rlx acq", "race"}}},
    {"a seqlock whose reader reads plain data",
     "x.rlx=1; F.rel; p=1; x.rel=2 | a=x.acq; if a==0: b=p", "", {{"", "race"}}},
    {"a choice decides who writes", "a=choose 2; if a==0: p=1 | b=q", "a b", {{"", "0 0, 1 0"}}},
};

// ---- shapes of real structures ------------------------------------------------------------------

const std::vector<family> shapes = {
    {"seqlock, one word", "y.rlx=1; F.rel; x.rlx=1; y.rel=2 | a=y.acq; b=x.rlx; F.$1; c=y.rlx",
     "a b c",
     {{"acq",
       "0 0 0, 0 0 1, 0 0 2, 0 1 1, 0 1 2, 1 0 1, 1 0 2, 1 1 1, 1 1 2, 2 1 2"},
      {"none",
       "0 0 0, 0 0 1, 0 0 2, 0 1 0, 0 1 1, 0 1 2, 1 0 1, 1 0 2, 1 1 1, 1 1 2, 2 1 2"}}},
    {"seqlock without the writer's fence",
     "y.rlx=1; x.rlx=1; y.rel=2 | a=y.acq; b=x.rlx; F.acq; c=y.rlx", "a b c",
     {{"", "0 0 0, 0 0 1, 0 0 2, 0 1 0, 0 1 1, 0 1 2, 1 0 1, 1 0 2, 1 1 1, 1 1 2, 2 1 2"}}},
    {"a turnstile: ticket and grant", "a=x.rlx += 1; if a==0: y.rel=1 | b=x.rlx += 1; "
     "if b==1: c=y.acq", "a b c", {{"", "0 1 0, 0 1 1, 1 0 0"}}},
    {"a node's link is written before and after the exchange that publishes it",
     "x.rlx=1; y.$1 := 1 | a=y.$2 := 2; if a==1: x.rlx=5", "a x",
     {{"ar ar", "0 1, 1 5"}, {"rlx ar", "0 1, 1 1, 1 5"}, {"rel rlx", "0 1, 1 1, 1 5"}}},
    {"sleep or see: store, fence, load on both sides",
     "x.rlx=1; F.$1; a=y.rlx | y.rlx=1; F.$2; b=x.rlx; if b==0: z.rlx=1", "a z",
     {{"sc sc", "0 0, 1 0, 1 1"}, {"sc ar", "0 0, 0 1, 1 0, 1 1"}}},
};

const std::vector<const std::vector<family>*> groups = {
    &message_passing, &store_buffering,   &load_buffering, &coherence,
    &store_orders,    &three_threads,     &four_threads,   &release_sequences,
    &updates,         &mixed,             &races,          &shapes};

template <class T = int>
void verify_all(const std::vector<family>& group) {
  for (const family& f : group) {
    for (const litmus::variant& v : f.variants) litmus::verify<T>(f, v);
  }
}

}  // namespace

TEST_CASE("litmus: message passing") { verify_all(message_passing); }
TEST_CASE("litmus: store buffering") { verify_all(store_buffering); }
TEST_CASE("litmus: load buffering") { verify_all(load_buffering); }
TEST_CASE("litmus: coherence") { verify_all(coherence); }
TEST_CASE("litmus: order of stores") { verify_all(store_orders); }
TEST_CASE("litmus: three threads") { verify_all(three_threads); }
TEST_CASE("litmus: four threads") { verify_all(four_threads); }
TEST_CASE("litmus: release sequences") { verify_all(release_sequences); }
TEST_CASE("litmus: updates") { verify_all(updates); }
TEST_CASE("litmus: seq_cst mixed with other orders") { verify_all(mixed); }
TEST_CASE("litmus: races on plain objects") { verify_all(races); }
TEST_CASE("litmus: shapes of real structures") { verify_all(shapes); }

TEST_CASE("litmus: objects of 8, 16 and 64 bits behave as those of 32") {
  for (const auto* group : groups) {
    verify_all<unsigned char>(*group);
    verify_all<short>(*group);
    verify_all<long long>(*group);
  }
}

#if defined(INTERLOCK_FRONT_B) || !defined(__clang__) || \
    defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16)  // else Clang calls libatomic, which is not seen
TEST_CASE("litmus: objects of 128 bits behave as those of 32") {
  for (const auto* group : groups) verify_all<litmus::wide>(*group);
}
#endif

TEST_CASE("litmus: more than a hundred tests, each once") {
  std::size_t count = 0;
  std::set<std::string> codes;
  for (const auto* group : groups) {
    for (const family& f : *group) {
      for (const litmus::variant& v : f.variants) {
        ++count;
        codes.insert(litmus::filled(f.code, litmus::words_of(v.words)) + " -> " + f.watched);
      }
    }
  }
  std::printf("litmus tests: %zu\n", count);
  CHECK(count >= 100);
  CHECK(codes.size() == count);
}
