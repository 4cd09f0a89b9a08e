# Shared by the commands in this folder; sourced, not run.
#
# Everything happens in one temporary directory: a private copy of the server's
# programs (so that installing the extension touches no server of the user's),
# a cluster that listens on a socket only, and the results.  As root the
# cluster belongs to the unprivileged user "postgres"; otherwise to the caller.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
TOP=$PWD
say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# ---- packages --------------------------------------------------------------

sudo_() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Find the major version to use: PGMAJOR, that of PG_CONFIG, 15, or the
# distribution's own.
find_major() {
  if [ -n "${PGMAJOR:-}" ]; then return; fi
  if [ -n "${PG_CONFIG:-}" ] && [ "$PG_CONFIG" != pg_config ]; then
    PGMAJOR=$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
  elif [ -x /usr/lib/postgresql/15/bin/postgres ] ||
       ! command -v apt-cache >/dev/null || apt-cache show postgresql-15 >/dev/null 2>&1; then
    PGMAJOR=15
  else
    PGMAJOR=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
    PGMAJOR=${PGMAJOR:-15}
  fi
}

# Install the packages that are missing, saying which; silent when none is.
need_packages() {
  command -v dpkg-query >/dev/null || return 0
  local missing="" p
  for p in "$@"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  say "Installing from the distribution:$missing"
  # A new package must not start a server of its own.
  local conf=/etc/postgresql-common/createcluster.conf
  if [ ! -e "$conf" ]; then
    sudo_ mkdir -p "${conf%/*}"
    echo 'create_main_cluster = false' | sudo_ tee "$conf" >/dev/null
    MADE_CONF=1
  fi
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086
  if ! { sudo_ env DEBIAN_FRONTEND=noninteractive apt-get -q -y install $missing ||
         { sudo_ apt-get -q update &&
           sudo_ env DEBIAN_FRONTEND=noninteractive apt-get -q -y install $missing; }; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not install:$missing"
  fi
  rm -f "$log"
  [ -z "${MADE_CONF:-}" ] || sudo_ rm -f "$conf"
}

# Install packages of npm into NPM_DIR.
need_npm() {
  command -v npm >/dev/null || need_packages nodejs npm
  NPM_DIR=$WORK/npm
  mkdir -p "$NPM_DIR"
  (cd "$NPM_DIR" && npm install --no-audit --no-fund --prefer-offline --silent "$@") >"$WORK/npm.log" 2>&1 ||
    { tail -n 20 "$WORK/npm.log" >&2; die "npm could not install: $*"; }
  chmod -R a+rX "$NPM_DIR"
}

prepare() {
  find_major
  if [ -z "${PG_CONFIG:-}" ] || [ "$PG_CONFIG" = pg_config ]; then
    PG_CONFIG=/usr/lib/postgresql/$PGMAJOR/bin/pg_config
    need_packages build-essential "postgresql-$PGMAJOR" "postgresql-server-dev-$PGMAJOR" \
      "postgresql-$PGMAJOR-cron" "postgresql-$PGMAJOR-pgtap" libcurl4-openssl-dev \
      libipc-run-perl openssl perl python3 util-linux
  fi
  [ -x "$PG_CONFIG" ] || die "no pg_config at $PG_CONFIG"
}

# ---- build and stage ---------------------------------------------------------

# Run a command as the user that owns the cluster.
if [ "$(id -u)" = 0 ]; then
  RUN_USER=postgres
  # The user may not be able to enter the checkout.
  as_user() {
    (case $PWD in "$WORK"*) ;; *) cd "$WORK" ;; esac
     exec runuser -u "$RUN_USER" -- env PATH="$PATH" HOME="$WORK" "$@")
  }
else
  RUN_USER=$(id -un)
  as_user() { "$@"; }
fi

# Make WORK, the temporary directory of this command.
make_work() {
  WORK=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/pipeline.XXXXXX")}
  mkdir -p "$WORK"
  chmod 755 "$WORK"
  [ "$(id -u)" != 0 ] || chown "$RUN_USER" "$WORK"
}

# Link the server's files under WORK/root and copy its programs there: a server
# finds its libraries and extensions relative to its own program.
stage() {
  local bin lib share f
  bin=$("$PG_CONFIG" --bindir) lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir)
  ROOT=$WORK/root
  if [ ! -d "$ROOT$bin" ]; then
    mkdir -p "$ROOT$bin" "$ROOT$lib" "$ROOT$share/extension"
    cp "$bin"/* "$ROOT$bin/"
    for f in "$lib"/*; do case ${f##*/} in pipeline.so|pipeline_transport.so|bitcode) ;; *) ln -s "$f" "$ROOT$lib/" ;; esac; done
    for f in "$share"/*; do [ "${f##*/}" = extension ] || ln -s "$f" "$ROOT$share/"; done
    for f in "$share"/extension/*; do
      case ${f##*/} in pipeline.control|pipeline--*) ;; *) ln -s "$f" "$ROOT$share/extension/" ;; esac
    done
  fi
  PATH=$ROOT$bin:$PATH
  PGXS_DIR=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
  export PATH
}

build() {
  local log=$WORK/build.log
  if ! { make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" WERROR=-Werror with_llvm=no &&
         make -s install PG_CONFIG="$PG_CONFIG" WERROR=-Werror with_llvm=no DESTDIR="$ROOT"; } >"$log" 2>&1; then
    cat "$log" >&2
    die "the build failed"
  fi
}

# ---- the cluster -------------------------------------------------------------

# Start a cluster in WORK/data; arguments are extra lines of its configuration.
start_cluster() {
  export PGHOST=$WORK PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
  unset PGSERVICE PGPASSWORD PGOPTIONS PGSSLMODE
  local preload=pipeline
  [ -e "$ROOT$("$PG_CONFIG" --pkglibdir)/pg_cron.so" ] && preload="pg_cron,pipeline"
  if [ ! -d "$WORK/data" ]; then
    as_user initdb -D "$WORK/data" -U postgres -A trust -N --locale=C.UTF-8 -E UTF8 >"$WORK/initdb.log" 2>&1 ||
      { cat "$WORK/initdb.log" >&2; die "initdb failed"; }
    {
      echo "listen_addresses = ''"
      echo "unix_socket_directories = '$WORK'"
      echo "shared_preload_libraries = '$preload'"
      echo "max_worker_processes = 24"
      echo "fsync = off"
      echo "shared_buffers = 256MB"
      echo "max_wal_size = 4GB"
      echo "log_line_prefix = '%m [%p] %b %q%a '"
      echo "timezone = UTC"
      printf '%s\n' "$@"
    } | as_user tee -a "$WORK/data/postgresql.conf" >/dev/null
  fi
  as_user pg_ctl -D "$WORK/data" -l "$WORK/server.log" -w -s start ||
    { tail -n 20 "$WORK/server.log" >&2; die "the server did not start"; }
}

stop_cluster() {
  [ ! -e "${WORK:-/nonexistent}/data/postmaster.pid" ] ||
    as_user pg_ctl -D "$WORK/data" -m "${1:-fast}" -w -s stop || true
}

remove_work() {
  stop_cluster immediate
  case ${WORK:-} in */pipeline.*) rm -rf "$WORK" ;; esac
}

# ---- the reference page ---------------------------------------------------------

# Print docs/reference.md; the server is the running one.
reference() {
  local room
  psql -qX -c 'DROP DATABASE IF EXISTS reference_page' -c 'CREATE DATABASE reference_page' 2>/dev/null
  {
    echo 'CREATE EXTENSION pipeline; CREATE TEMP TABLE rooms (n int, room text, name text);'
    n=0
    for room in runner alert scd feature expect base; do
      n=$((n + 1))
      sed -nE "s/^CREATE (OR REPLACE )?(FUNCTION|PROCEDURE|AGGREGATE|VIEW|TABLE|TYPE|DOMAIN) pipeline\.([a-z0-9_]+).*/INSERT INTO rooms VALUES ($n, '$room', '\3');/p" \
        "$TOP/src/$room/"*.sql
    done
    cat "$TOP/scripts/reference.sql"
  } | psql -qXtA -v ON_ERROR_STOP=1 -d reference_page
  psql -qX -c 'DROP DATABASE reference_page'
}
