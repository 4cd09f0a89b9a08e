# PGXS build. `make demo` and `make test` do all their own set-up; see
# docs/development.md.

EXTENSION  = pipeline
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pipeline.control)
RELEASED   =
ROOMS      = base alert scd feature expect runner

MODULE_big = pipeline
OBJS       = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c $(ROOMS:%=src/%/*.c))))
PG_CPPFLAGS = -Isrc -DPIPELINE_VERSION='"$(EXTVERSION)"'
# PostgreSQL's own headers do not survive the last four of -Wextra.
PG_CFLAGS  = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type $(WERROR)

# Libraries share one space of names in the server: ours keeps to a prefix.
SHLIB_EXPORTS = src/exports.txt

# A room's first, then what it has split off: tables_<subject>.sql.
room_sql   = $(foreach r,$(ROOMS),$(wildcard src/$(r)/$(1).sql) $(sort $(wildcard src/$(r)/$(1)_*.sql)))
TABLES     = $(call room_sql,tables)
FUNCTIONS  = $(call room_sql,functions)
DATA_built = pipeline--$(EXTVERSION).sql $(RELEASED:%=pipeline--%--$(EXTVERSION).sql)
DATA       = $(wildcard src/upgrade/pipeline--*.sql)
EXTRA_CLEAN = $(DATA_built) src/exports.list tmp_check

# The second library, which only the notifier loads, has a Makefile of its own.
TRANSPORT  = src/alert/transport

REGRESS    = base_setup $(filter-out base_setup,$(sort $(notdir $(basename $(wildcard sql/*.sql)))))
REGRESS_OPTS = --load-extension=pipeline --load-extension=pgtap
ISOLATION  = $(sort $(notdir $(basename $(wildcard test/specs/*.spec))))
ISOLATION_OPTS = --inputdir=test --load-extension=pipeline

TAP_TESTS  = 1
PROVE_TESTS = test/t/*.pl
PROVE_FLAGS = -I test/t

PG_CONFIG ?= pg_config

# The two commands need no pg_config: they install what is missing first.
ALONE = demo test bench docs
ifneq ($(filter-out $(ALONE),$(or $(MAKECMDGOALS),all)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

all: transport-all
install: transport-install
uninstall: transport-uninstall
clean distclean maintainer-clean: transport-clean
.PHONY: transport-all transport-install transport-uninstall transport-clean
transport-all transport-install transport-uninstall transport-clean: transport-%:
	$(MAKE) -C $(TRANSPORT) $* PG_CONFIG='$(PG_CONFIG)' WERROR='$(WERROR)'
transport-install: transport-all
endif

.PHONY: demo test bench docs
demo test bench docs:
	@PG_CONFIG='$(PG_CONFIG)' KEEP='$(KEEP)' TESTS='$(TESTS)' ROOM='$(ROOM)' scripts/$@

# Every object sees every header: the tree is small and a stale object costs
# more than a rebuild.
$(OBJS): $(wildcard src/*.h src/*/*.h)

pipeline--$(EXTVERSION).sql: src/header.sql $(TABLES) $(FUNCTIONS)
	sed 's/\bCREATE OR REPLACE\b/CREATE/' $^ > $@

# Steps from an older version, in order, then every function again.
steps_from = $(foreach v,$(shell echo '$(RELEASED)' | sed 's/.*\b\($(1)\)\b/\1/'),$(wildcard src/upgrade/$(v)--*.sql))
$(RELEASED:%=pipeline--%--$(EXTVERSION).sql): pipeline--%--$(EXTVERSION).sql: src/header.sql $(wildcard src/upgrade/*.sql) $(FUNCTIONS)
	cat src/header.sql $(call steps_from,$*) $(FUNCTIONS) > $@
