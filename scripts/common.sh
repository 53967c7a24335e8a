# SPDX-License-Identifier: BSL-1.0
# Shared by the scripts of this folder: what is missing gets installed, what fails says why.
# Sourced with `root` and `command_name` unset; sets root and cds to it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command_name=scripts/$(basename "$0")
caller_dir=$PWD  # where the caller's relative file names are
cd "$root" || exit 2

stop() {  # stop MESSAGE: one line that names the thing and the remedy
  echo "$command_name: $1" >&2
  exit 2
}

have_package() {
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

have_header() {
  [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ]
}

# Whether what a package brings is there, installed as a package or by other means.
have() {
  case $1 in
    g++) command -v "${CXX:-g++}" >/dev/null ;;
    cmake) command -v cmake >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    python3) command -v python3 >/dev/null ;;
    catch2) [ -n "$(find /usr/include/catch2 /usr/local/include/catch2 -maxdepth 1 2>/dev/null)" ] ;;
    libbenchmark-dev) [ -n "$(find /usr/include/benchmark /usr/local/include/benchmark -maxdepth 1 2>/dev/null)" ] ;;
    libboost1.81-dev) have_header boost/asio/recycling_allocator.hpp ;;
    libasio-dev) have_header asio/recycling_allocator.hpp ;;
    libsqlite3-dev) have_header sqlite3.h ;;
    libhiredis-dev) have_header hiredis/hiredis.h ;;
    libpq-dev) have_header postgresql/libpq-fe.h || have_header libpq-fe.h ;;
    redis-server) command -v redis-server >/dev/null ;;
    iproute2) command -v ip >/dev/null ;;
    postgresql) command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    *) have_package "$1" ;;
  esac
}

need() {  # need PACKAGE...: installs those that are missing; no apt call when none is
  local missing=() package log
  if [ -n "${CXX:-}" ] && ! command -v "${CXX%% *}" >/dev/null; then
    stop "CXX names the compiler '$CXX', which is not there; unset CXX or install it"
  fi
  for package in "$@"; do have "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    stop "missing: ${missing[*]} (Debian names); install them with this system's package manager and run again"
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      stop "missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  echo "Installing ${missing[*]} ..." >&2
  mkdir -p "$root/build"
  log=$root/build/install.log
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q
    -o "DPkg::Lock::Timeout=${INTERLOCK_APT_TIMEOUT:-600}")
  "${apt[@]}" install -y --no-install-recommends --no-remove "${missing[@]}" >"$log" 2>&1 ||
    { "${apt[@]}" update >"$log" 2>&1 &&
      "${apt[@]}" install -y --no-install-recommends --no-remove "${missing[@]}" >>"$log" 2>&1; } ||
    {
      if grep -q 'Could not get lock' "$log"; then
        stop "the package manager is locked by another program; let it finish (or stop it) and run again"
      fi
      tail -n 5 "$log" >&2
      stop "could not install ${missing[*]}; the log is build/install.log"
    }
}

# The client library and the server of each engine. Debian starts a server with its package, which
# no program of ours asks anything: they start their own, on sockets in temporary folders.
packages_of() {  # packages_of ENGINE...
  local engine
  for engine in "$@"; do
    case $engine in
      sqlite) echo libsqlite3-dev ;;
      redis) echo libhiredis-dev redis-server ;;
      postgres) echo libpq-dev postgresql ;;
      *) stop "unknown engine '$engine'; known: sqlite, redis, postgres" ;;
    esac
  done
}

configure_and_build() {  # configure_and_build BUILD_DIR TARGETS CMAKE_ARGUMENT...
  local dir=$1 targets=$2 log
  shift 2
  local generator=() made_with
  made_with=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$dir/CMakeCache.txt" 2>/dev/null)
  if [ -n "${CXX:-}" ] && [ -n "$made_with" ] &&
    [ "$(readlink -f "$(command -v "$CXX")")" != "$(readlink -f "$(command -v "$made_with")")" ]; then
    stop "${dir#"$root"/} was built with $made_with and not with $CXX; remove it or set INTERLOCK_BUILD"
  fi
  [ -f "$dir/CMakeCache.txt" ] || { command -v ninja >/dev/null && generator=(-G Ninja); }
  mkdir -p "$dir"
  log=$dir/build.log
  # shellcheck disable=SC2086
  if ! { cmake -S "$root" -B "$dir" "${generator[@]}" "$@" &&
    cmake --build "$dir" --parallel "$(nproc)" ${targets:+--target $targets}; } >"$log" 2>&1; then
    grep -E 'error|Error|FAILED' "$log" | head -n 20 >&2
    tail -n 5 "$log" >&2
    echo "$command_name: the build failed; the log is ${log#"$root"/}" >&2
    exit 1
  fi
}
