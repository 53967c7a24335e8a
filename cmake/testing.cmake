# SPDX-License-Identifier: BSL-1.0
# interlock::testing from the source tree, and the model tests that stand on it.

if(INTERLOCK_SANITIZE OR NOT UNIX)
  message(STATUS "interlock::testing is left out: it takes the sanitizer's place")
  return()
endif()

include(cmake/interlock-testing.cmake)
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(interlock_testing PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Wnon-virtual-dtor)
endif()

if(INTERLOCK_TESTS AND PROJECT_IS_TOP_LEVEL)
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/testing)
endif()
if(INTERLOCK_EXAMPLES AND PROJECT_IS_TOP_LEVEL)
  add_subdirectory(${PROJECT_SOURCE_DIR}/examples/lab/explain)
endif()
