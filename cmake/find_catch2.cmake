# SPDX-License-Identifier: BSL-1.0
# Catch2: Debian's 2.13 and upstream's 3 both serve; tests/support/catch.hpp hides the difference.

find_package(Catch2 QUIET)
if(NOT TARGET Catch2::Catch2)
  message(STATUS "Catch2 not found, fetching v3.7.1 (or install it: apt-get install catch2)")
  include(FetchContent)
  FetchContent_Declare(Catch2
    GIT_REPOSITORY https://github.com/catchorg/Catch2.git GIT_TAG v3.7.1 GIT_SHALLOW ON)
  FetchContent_MakeAvailable(Catch2)
endif()
