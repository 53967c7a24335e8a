# SPDX-License-Identifier: BSL-1.0
# Adds the targets interlock::asio (for <interlock/asio.hpp>: Boost.Asio) and
# interlock::standalone_asio (for <interlock/standalone_asio.hpp>: Asio without Boost), each if what
# it needs is there. If not, interlock_asio_missing or interlock_standalone_asio_missing is a sentence
# that says what to do. The file is the same in the source tree and installed. Both are headers only.

include("${CMAKE_CURRENT_LIST_DIR}/interlock-component.cmake")

function(interlock_add_bridge name headers)
  if(NOT TARGET interlock::${name})
    interlock_add_component(${name})
    target_include_directories(${target} SYSTEM INTERFACE "${headers}")
  endif()
endfunction()

find_package(Boost 1.79 QUIET)
if(Boost_FOUND AND EXISTS "${Boost_INCLUDE_DIRS}/boost/asio/recycling_allocator.hpp")
  interlock_add_bridge(asio "${Boost_INCLUDE_DIRS}")
else()
  set(interlock_asio_missing "interlock's component 'asio' needs the headers of Boost 1.79 or newer: \
install libboost1.81-dev, or set Boost_ROOT")
endif()

find_path(ASIO_INCLUDE_DIR asio/version.hpp DOC "Where asio.hpp is, of Asio without Boost")
mark_as_advanced(ASIO_INCLUDE_DIR)
set(interlock_asio_version 0)
if(ASIO_INCLUDE_DIR)
  file(STRINGS "${ASIO_INCLUDE_DIR}/asio/version.hpp" interlock_asio_version
    REGEX "^#define ASIO_VERSION [0-9]+")
  string(REGEX MATCH "[0-9]+" interlock_asio_version "${interlock_asio_version}")
endif()
if(interlock_asio_version GREATER_EQUAL 102200)
  interlock_add_bridge(standalone_asio "${ASIO_INCLUDE_DIR}")
else()
  set(interlock_standalone_asio_missing "interlock's component 'standalone_asio' needs Asio 1.22 or \
newer without Boost: install libasio-dev, or set ASIO_INCLUDE_DIR")
endif()
