# SPDX-License-Identifier: GPL-2.0
# Bindings of what rust/bindings lacks, made from the headers of the kernel that is built against,
# so that a kernel whose functions differ fails to compile instead of being called wrongly.
#
# In a module's Kbuild, after the object is named:
#   bindgen-headers := linux/of_platform.h …       what to bind: only what these files declare
#   bindgen-private := drivers/x/y.h …             the same of headers that are not in include/
#   bindgen-objects := main.o …                    the Rust objects that mount bindings.rs
#   bindgen-helpers := dmaengine …                 of helpers/: inline functions, made callable as
#                                                  rust_helper_…; then link bindings_helpers.o
#   include $(src)/../../guest-common/kernel/bindgen.mk
#
# Types that the kernel crate has are taken from it, so both sets of bindings mix. Its headers come
# first: else a forward declaration in one of ours would count as a type of ours. Where the kernel
# crate knows no more of a type than its name, the check of sizes fails: bind its header as well.

bindgen-helper-files := $(foreach h,$(bindgen-helpers), \
	$(abspath $(src)/../../guest-common/kernel/helpers/$(h).c))

quiet_cmd_bindgen = BINDGEN $@
      cmd_bindgen = \
	printf '\#include "%s"\n' $(srctree)/rust/bindings/bindings_helper.h \
		$(bindgen-headers) $(addprefix $(srctree)/,$(bindgen-private)) \
		$(bindgen-helper-files) > $(@:.rs=.h); \
	$(BINDGEN) $(@:.rs=.h) $(shell grep -Ev '^\#|^$$' $(srctree)/rust/bindgen_parameters) \
		--rust-target 1.85 --use-core --ctypes-prefix ffi --with-derive-default \
		--no-debug '.*' --enable-function-attribute-detection \
		--no-recursive-allowlist \
		$(foreach h,$(addprefix include/,$(bindgen-headers)) $(bindgen-private), \
			--allowlist-file '.*/$(h)') \
		$(if $(bindgen-helpers),--allowlist-function 'rust_helper_.*') \
		-o $@ -- $(bindgen-c-flags) -w -fno-builtin -D__BINDGEN__ -DMODULE

# libclang knows few of gcc's flags: of those only what shapes declarations.
ifdef CONFIG_CC_IS_GCC
bindgen-c-flags = --target=aarch64-linux-gnu -Wp,-MMD,$(depfile) -nostdinc $(LINUXINCLUDE) \
	-include $(srctree)/include/linux/compiler_types.h \
	$(filter -D% -U% -std=% -fms-extensions -fshort-wchar -funsigned-char,$(c_flags))
else
bindgen-c-flags = $(filter-out $(CC_FLAGS_LTO),$(c_flags))
endif

$(obj)/bindings_generated.rs: FORCE
	$(call if_changed_dep,bindgen)
targets += bindings_generated.rs

bindgen-objects := $(addprefix $(obj)/,$(bindgen-objects))
$(bindgen-objects): $(obj)/bindings_generated.rs
$(bindgen-objects): export BINDINGS_GENERATED := $(abspath $(obj)/bindings_generated.rs)

# Nobody but Rust calls the helpers, so no header declares them.
quiet_cmd_helpers = GEN     $@
      cmd_helpers = printf '\#include "%s"\n' $(bindgen-helper-files) > $@

$(obj)/bindings_helpers.c: FORCE
	$(call if_changed,helpers)
targets += bindings_helpers.c
CFLAGS_bindings_helpers.o := -Wno-missing-prototypes
