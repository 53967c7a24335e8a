# SPDX-License-Identifier: BSL-1.0
# Adds the target interlock::testing: the explorer's runtime, one translation unit that is compiled
# by whoever uses it, with his compiler. The file is the same in the source tree and installed.
# A program under test is compiled with -fsanitize=thread and linked with this library in place of
# the sanitizer's, so the flag is for the compiler alone:
#   target_compile_options(my_model PRIVATE -fsanitize=thread -O1 -g)
#   target_link_libraries(my_model PRIVATE interlock::testing)

get_filename_component(interlock_testing_sources "${CMAKE_CURRENT_LIST_DIR}/../src/testing" ABSOLUTE)
add_library(interlock_testing STATIC "${interlock_testing_sources}/runtime.cpp")
add_library(interlock::testing ALIAS interlock_testing)
target_compile_features(interlock_testing PUBLIC cxx_std_20)
target_link_libraries(interlock_testing PUBLIC interlock::interlock PRIVATE ${CMAKE_DL_LIBS})
# model.hpp declares the hooks of detail/parking.hpp again, as noinline; GCC remarks on that.
target_compile_options(interlock_testing INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-attributes>)
# It is never instrumented, and its speed is the speed of every model test, in a debug build too.
target_compile_options(interlock_testing PRIVATE -O3 -g -fno-sanitize=all)
