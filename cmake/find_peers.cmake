# SPDX-License-Identifier: BSL-1.0
# The other projects that benchmarks/ compares ours with. Each has a file NAME.peer.cpp in a family's
# folder and is built only if it is there; the report names those that are not.

include(CheckCXXSourceCompiles)
include(CMakePushCheckState)

# What an earlier configuration found may have been removed or installed since.
foreach(path xenium_headers cds_headers cds_library ck_headers urcu_headers urcu_library
    asio_channel_headers moodycamel_headers)
  unset(${path} CACHE)
endforeach()

find_package(TBB QUIET)
find_package(Boost QUIET)
find_package(absl QUIET)
find_path(xenium_headers xenium/seqlock.hpp)
find_path(cds_headers cds/gc/hp.h)
find_library(cds_library cds)
find_path(ck_headers ck_sequence.h)
find_path(urcu_headers urcu/uatomic.h)
find_path(asio_channel_headers boost/asio/experimental/concurrent_channel.hpp)
find_path(moodycamel_headers blockingconcurrentqueue.h PATH_SUFFIXES concurrentqueue
  concurrentqueue/moodycamel moodycamel)
find_library(urcu_library urcu)

set(CMAKE_CXX_STANDARD 20)
cmake_push_check_state(RESET)
set(CMAKE_REQUIRED_QUIET ON)
set(CMAKE_REQUIRED_FLAGS "")
check_cxx_source_compiles("
  #include <memory>
  #ifndef __cpp_lib_atomic_shared_ptr
  #error
  #endif
  int main() {}" INTERLOCK_HAS_ATOMIC_SHARED_PTR)
set(CMAKE_REQUIRED_FLAGS -fgnu-tm)
check_cxx_source_compiles("
  int n;
  int main() { __transaction_atomic { ++n; } }" INTERLOCK_HAS_LIBITM)
set(CMAKE_REQUIRED_FLAGS "")
set(CMAKE_REQUIRED_LIBRARIES atomic)
check_cxx_source_compiles("
  #include <atomic>
  struct big { long words[8]; };
  int main() { return static_cast<int>(std::atomic<big>().load().words[0]); }"
  INTERLOCK_HAS_LIBATOMIC)
cmake_pop_check_state()

set(peer_files "")
set(peer_entries "")

# peer(FILE "NAME" "HOW TO GET IT" FOUND LIBRARY...): NAME begins the names of its contenders.
function(peer file name remedy found)
  set(found_json false)
  if(found)
    set(found_json true)
    set(peer_files ${peer_files} ${file} PARENT_SCOPE)
    set(${file}_libraries ${ARGN} PARENT_SCOPE)
  endif()
  file(GLOB sources RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS */${file}.peer.cpp)
  string(REGEX REPLACE "([^/;]+)/[^;]*" "\"\\1\"" families "${sources}")
  string(REPLACE ";" ", " families "${families}")
  set(entry "  {\"name\": \"${name}\", \"remedy\": \"${remedy}\", \"found\": ${found_json}, ")
  list(APPEND peer_entries "${entry}\"families\": [${families}]}")
  set(peer_entries "${peer_entries}" PARENT_SCOPE)
endfunction()

function(both result first second)
  set(${result} FALSE PARENT_SCOPE)
  if(first AND second)
    set(${result} TRUE PARENT_SCOPE)
  endif()
endfunction()
both(cds_found "${cds_headers}" "${cds_library}")
both(urcu_found "${urcu_headers}" "${urcu_library}")
both(asio_channel_found "${Boost_FOUND}" "${asio_channel_headers}")

peer(onetbb "oneTBB" "install libtbb-dev" "${TBB_FOUND}" TBB::tbb)
peer(libcds "libcds" "install libcds-dev" ${cds_found} ${cds_library})
peer(xenium "xenium" "install libxenium-dev" "${xenium_headers}")
peer(concurrency_kit "Concurrency Kit" "install libck-dev" "${ck_headers}")
peer(liburcu "liburcu" "install liburcu-dev" ${urcu_found} ${urcu_library})
peer(boost "Boost" "install libboost1.81-dev" "${Boost_FOUND}" Boost::boost)
peer(boost_asio "Boost.Asio" "install libboost1.81-dev" ${asio_channel_found} Boost::boost)
peer(abseil "Abseil" "install libabsl-dev" "${absl_FOUND}" absl::synchronization
  absl::flat_hash_map)
peer(moodycamel "moodycamel" "install libconcurrentqueue-dev" "${moodycamel_headers}")
peer(libitm "libitm" "use GCC" "${INTERLOCK_HAS_LIBITM}" itm)
peer(libatomic "libatomic" "use GCC" "${INTERLOCK_HAS_LIBATOMIC}" atomic)
peer(atomic_shared_ptr "std::atomic<std::shared_ptr>" "use libstdc++ 12 or newer"
  "${INTERLOCK_HAS_ATOMIC_SHARED_PTR}")

foreach(engine sqlite redis postgres)  # that the family `engines` measures
  interlock_missing_engine(missing ${engine})
  set(found false)
  if(NOT missing)
    set(found true)
  endif()
  set(entry "  {\"name\": \"${engine}\", \"remedy\": \"${missing}\", \"found\": ${found}, ")
  list(APPEND peer_entries "${entry}\"families\": [\"engines\"]}")
endforeach()

list(JOIN peer_entries ",\n" peer_entries)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/peers.json "[\n${peer_entries}\n]\n")
