// SPDX-License-Identifier: BSL-1.0
#pragma once

// Catch2 2.13 and 3 through one include. Only the main thread may assert: Catch2 is not
// thread-safe there. Worker threads write to atomics or vectors that the main thread checks.

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/catch_template_test_macros.hpp>
#else
#include <catch2/catch.hpp>
#endif
