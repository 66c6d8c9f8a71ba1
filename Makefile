# splashdam. The two commands of a newcomer: make demo, make check.
#
#   all        the agent and its plugins, into build/
#   check      installs what is missing, builds with -Werror, runs every test
#   unit fuzz-corpus model e2e   parts of check; E2E=tests/e2e/test_x.py runs only that
#   model      random file operations against a model for MODEL_SECONDS (60); MODEL_SEED repeats a round, with MODEL_COPIES=1
#              logs are copied and truncated, too (so does soak)
#   faults     calls that fail, kills and power cuts at each step; FAULTS=all tries every one
#   soak       all faults, then the model for SOAK_SECONDS (0: until it is stopped), each seed printed
#   demo       shows the agent at work; DEMO_SECONDS=0 keeps going until Ctrl-C
#   bench      speed and memory beside a bare librdkafka loop; what idle files and starts with many files cost
#   lint       formatting, static analysis, the project's own rules
#   fuzz       runs every fuzz target for FUZZ_SECONDS (30) with libFuzzer
#   docs       generates the configuration reference and the JSON Schema
#   install    DESTDIR and PREFIX are honoured
#
# SAN=address,undefined or SAN=thread builds into build-<SAN> with these sanitizers.

SAN ?=
PREFIX ?= /usr/local
PLUGIN_DIR = $(PREFIX)/lib/splashdam/plugins
FUZZ_SECONDS ?= 30
MODEL_SECONDS ?= 60
MODEL_SEED ?=
MODEL_COPIES ?=
SOAK_SECONDS ?= 0
FAULTS ?=
SYSCONFDIR ?= /etc
VERSION := 0.1.0

comma := ,
B := build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
CC ?= gcc
PACKAGES := rdkafka libpcre2-8 yaml-0.1 libxxhash zlib libzstd liblz4 libcrypto
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings \
        -Wpointer-arith -Wvla -Wundef -Wformat=2
CFLAGS ?= -O2 -g
CFLAGS_ALL = -std=gnu11 $(CFLAGS) $(WARN) -fno-omit-frame-pointer -fno-strict-aliasing -D_GNU_SOURCE \
        -DVERSION='"$(VERSION)"' -DPLUGIN_DIR='"$(PLUGIN_DIR)"' \
        -I. $(shell pkg-config --cflags $(PACKAGES)) -pthread -MMD -MP \
        $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) $(EXTRA)
LDLIBS_ALL = $(shell pkg-config --libs $(PACKAGES)) -lev -linotifytools -lm -ldl -pthread
LDFLAGS_ALL = $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN)) -rdynamic

# ThreadSanitizer has to see the threads and locks of librdkafka.
TSAN := $(if $(findstring thread,$(SAN)),$(B)/tests/tsan/c11_threads.o)
AGENT := $(TSAN) $(patsubst %.c,$(B)/%.o,$(filter-out agent/main.c,$(wildcard agent/*.c)))
PLUGINS := $(patsubst plugins/%.c,$(B)/plugins/%.so,$(wildcard plugins/*.c))
UNIT := $(patsubst %.c,$(B)/%,$(wildcard tests/agent/test_*.c tests/plugins/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all check unit fuzz-corpus model faults soak e2e demo bench lint fuzz docs install clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/splashdam $(PLUGINS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(B)/splashdam: $(B)/agent/main.o $(AGENT)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_ALL)

$(B)/plugins/%.so: plugins/%.c plugins/plugin.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -shared -o $@ $<

$(B)/tests/%: tests/%.c $(AGENT)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(AGENT) $(LDLIBS_ALL) -lcmocka

# A fuzz target has LLVMFuzzerTestOneInput(); with replay.c it runs on plain files, without clang.
$(B)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c $(AGENT)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< tests/fuzz/replay.c $(AGENT) $(LDLIBS_ALL)

unit: all $(UNIT)
	@for t in $(UNIT); do echo "== $$t"; BUILD=$(B) $$t || exit 1; done

# All of the model's files in one program; its clock and its fsync stand in for the system's.
MODEL := $(patsubst %.c,$(B)/%.o,$(wildcard tests/model/*.c))
$(B)/tests/model/model: $(MODEL) $(AGENT)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -Wl,--wrap=clock_gettime,--wrap=fsync -o $@ $^ $(LDLIBS_ALL)

model: all $(B)/tests/model/model
	MODEL_SEED=$(MODEL_SEED) MODEL_COPIES=$(MODEL_COPIES) $(B)/tests/model/model $(MODEL_SECONDS)

# The injector stands in for functions that sanitizers stand in for, too: always without them.
INJECTOR := $(B)/tests/faults/inject.so
$(INJECTOR): tests/faults/inject.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fPIC -shared -o $@ $< -ldl

$(B)/tests/faults/mock_broker: tests/faults/mock_broker.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $< $(LDLIBS_ALL)

faults: all $(INJECTOR) $(B)/tests/faults/mock_broker
	BUILD=$(B) FAULTS=$(FAULTS) tests/e2e/run.sh -n 3 tests/faults

soak:
	$(MAKE) SAN= FAULTS=all faults
	$(MAKE) SAN=$(SAN) MODEL_SECONDS=$(SOAK_SECONDS) MODEL_COPIES=1 model

fuzz-corpus: all $(FUZZ:%=$(B)/replay/%)
	@for t in $(FUZZ); do BUILD=$(B) $(B)/replay/$$t tests/fuzz/corpus/$$t || exit 1; done

e2e: all
	BUILD=$(B) tests/e2e/run.sh $(E2E)

# The installer first, in a make of its own: pkg-config has nothing to say before it.
check:
	packaging/install-dependencies.sh check
	$(MAKE) SAN=$(SAN) unit
	$(MAKE) SAN=$(SAN) fuzz-corpus
	$(MAKE) SAN=$(SAN) model
	$(MAKE) SAN= faults
	$(MAKE) SAN=$(SAN) e2e

demo:
	packaging/install-dependencies.sh demo
	$(MAKE) SAN=$(SAN) all
	BUILD=$(B) packaging/demo.sh

bench:
	packaging/install-dependencies.sh check
	$(MAKE) SAN= all
	BUILD=build tests/bench/idle.sh
	BUILD=build tests/bench/run.sh

lint:
	packaging/install-dependencies.sh lint build
	tests/lint/lint.sh

# Each target with libFuzzer, new findings into build-fuzz/; the corpus in the tree stays as it is.
fuzz:
	packaging/install-dependencies.sh fuzz
	$(MAKE) B=build-fuzz CC=clang SAN=address,undefined EXTRA=-fsanitize=fuzzer-no-link \
		$(FUZZ:%=build-fuzz/fuzz/%)
	@for t in $(FUZZ); do mkdir -p build-fuzz/found/$$t; echo "== $$t"; \
		build-fuzz/fuzz/$$t -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build-fuzz/found/ \
			build-fuzz/found/$$t tests/fuzz/corpus/$$t || exit 1; done

$(B)/fuzz/%: tests/fuzz/%.c $(AGENT)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(AGENT) $(LDLIBS_ALL)

docs: all
	$(B)/splashdam reference markdown > $(B)/reference && mv $(B)/reference docs/configuration.md
	$(B)/splashdam reference schema > $(B)/reference && mv $(B)/reference docs/splashdam.schema.json

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PLUGIN_DIR) \
		$(DESTDIR)$(PREFIX)/include/splashdam $(DESTDIR)$(PREFIX)/share/doc/splashdam \
		$(DESTDIR)$(SYSCONFDIR)/splashdam/conf.d $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(B)/splashdam $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(PLUGINS) $(DESTDIR)$(PLUGIN_DIR)/
	install -m 644 plugins/plugin.h $(DESTDIR)$(PREFIX)/include/splashdam/
	install -m 644 LICENSE README.md docs/*.md docs/*.json $(DESTDIR)$(PREFIX)/share/doc/splashdam/
	install -d $(DESTDIR)$(PREFIX)/share/doc/splashdam/examples
	install -m 755 docs/examples/*.py $(DESTDIR)$(PREFIX)/share/doc/splashdam/examples/
	install -m 644 conf.d/*.yaml $(DESTDIR)$(PREFIX)/share/doc/splashdam/
	test -e $(DESTDIR)$(SYSCONFDIR)/splashdam/splashdam.yaml || \
		install -m 640 packaging/splashdam.yaml $(DESTDIR)$(SYSCONFDIR)/splashdam/
	sed 's|^ExecStart=splashdam |ExecStart=$(PREFIX)/bin/splashdam |' packaging/systemd/splashdam.service \
		> $(DESTDIR)$(PREFIX)/lib/systemd/system/splashdam.service

clean:
	rm -rf build build-*

-include $(shell find $(B) -name '*.d' 2>/dev/null)
