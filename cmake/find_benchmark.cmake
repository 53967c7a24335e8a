# SPDX-License-Identifier: BSL-1.0
# Google Benchmark: the installed one, else a pinned release.

find_package(benchmark QUIET)
if(NOT TARGET benchmark::benchmark)
  message(STATUS "Google Benchmark not found, fetching v1.9.1 (or install it: apt-get install libbenchmark-dev)")
  include(FetchContent)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  FetchContent_Declare(benchmark
    GIT_REPOSITORY https://github.com/google/benchmark.git GIT_TAG v1.9.1 GIT_SHALLOW ON)
  FetchContent_MakeAvailable(benchmark)
endif()
