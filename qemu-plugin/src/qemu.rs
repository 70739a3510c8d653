// SPDX-License-Identifier: GPL-2.0-or-later
//! What is used of QEMU, looked up by name in the process.
//!
//! These are QEMU's internals: they have no stable form, and Debian ships no header for them, so their
//! signatures are typed here, from QEMU 11.1's `include/system/memory.h`, `include/qom/object.h`,
//! `include/hw/pci/pci_host.h`, `include/system/cpus.h`, `include/block/aio.h` and the generated
//! `qapi-types-control.h`. [`Qemu::find`] therefore refuses any other release than [`TESTED`], and one that
//! lacks a name.

use nix::libc;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr;

/// The release (major, minor) whose internals are as this file says.
pub const TESTED: (i64, i64) = (11, 1);

/// QEMU's `Object`.
#[repr(C)]
pub struct Object([u8; 0]);

/// QEMU's `MemoryRegion`, which is an [`Object`].
#[repr(C)]
pub struct MemoryRegion([u8; 0]);

/// QEMU's `AioContext`: an event loop.
#[repr(C)]
pub struct AioContext([u8; 0]);

/// QEMU's `VersionInfo` (`qapi/control.json`).
#[repr(C)]
pub struct VersionInfo {
    qemu: *const VersionTriple,
    package: *const c_char,
}

/// QEMU's `VersionTriple`.
#[repr(C)]
pub struct VersionTriple {
    major: i64,
    minor: i64,
    micro: i64,
}

/// What a child's visitor returns to see the next one.
pub const GO_ON: c_int = 0;

/// QEMU's name of its type `MemoryRegion`.
pub const MEMORY_REGION: &CStr = c"memory-region";

/// A bottom half, or whatever else gets nothing but its own pointer.
pub type Callback = unsafe extern "C" fn(*mut c_void);
/// A visitor of an object's children; see [`GO_ON`].
pub type Visitor = unsafe extern "C" fn(*mut Object, *mut c_void) -> c_int;

macro_rules! functions {
    ($(fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// QEMU's functions, each by its own name. All but `qmp_query_version`, `qapi_free_VersionInfo`,
        /// `qemu_get_aio_context`, `aio_bh_schedule_oneshot_full` and `bql_locked` want the big QEMU lock,
        /// which a bottom half of the main loop has.
        #[allow(missing_docs, non_snake_case)]
        pub struct Qemu {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Qemu {
            /// Looks each function up with `find`, which returns null for one that is not there.
            fn find_with(find: impl Fn(&'static CStr) -> *mut c_void) -> Result<Self, String> {
                Ok(Self { $($name: {
                    let name = const { symbol(concat!(stringify!($name), "\0")) };
                    let address = find(name);
                    if address.is_null() {
                        return Err(format!("this QEMU has no {}", stringify!($name)));
                    }
                    // SAFETY: it is QEMU's function of that name, which has this signature in the tested
                    // release. Pointers to code and to data are of one size wherever there is a dlsym.
                    unsafe {
                        std::mem::transmute::<
                            *mut c_void,
                            unsafe extern "C" fn($($argument),*) $(-> $result)?,
                        >(address)
                    }
                },)* })
            }
        }
    };
}

functions! {
    fn qmp_query_version(*mut *mut c_void) -> *mut VersionInfo;
    fn qapi_free_VersionInfo(*mut VersionInfo);
    fn qemu_get_aio_context() -> *mut AioContext;
    fn aio_bh_schedule_oneshot_full(*mut AioContext, Callback, *mut c_void, *const c_char);
    fn bql_locked() -> bool;
    fn object_resolve_path(*const c_char, *mut bool) -> *mut Object;
    fn object_child_foreach(*mut Object, Visitor, *mut c_void) -> c_int;
    fn object_dynamic_cast(*mut Object, *const c_char) -> *mut Object;
    fn object_new(*const c_char) -> *mut Object;
    fn pause_all_vcpus();
    fn resume_all_vcpus();
    fn pci_host_config_read_common(*mut Object, u32, u32, u32) -> u32;
    fn memory_region_init_ram_device_ptr(
        *mut MemoryRegion, *mut Object, *const c_char, u64, *mut c_void
    );
    fn memory_region_init_alias(
        *mut MemoryRegion, *mut Object, *const c_char, *mut MemoryRegion, u64, u64
    );
    fn memory_region_name(*const MemoryRegion) -> *const c_char;
    fn memory_region_size(*const MemoryRegion) -> u64;
    fn memory_region_is_mapped(*const MemoryRegion) -> bool;
    fn memory_region_set_size(*mut MemoryRegion, u64);
    fn memory_region_set_alias_offset(*mut MemoryRegion, u64);
    fn memory_region_add_subregion_overlap(*mut MemoryRegion, u64, *mut MemoryRegion, c_int);
    fn memory_region_del_subregion(*mut MemoryRegion, *mut MemoryRegion);
    fn memory_region_transaction_begin();
    fn memory_region_transaction_commit();
}

const fn symbol(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a name with a nul in it"),
    }
}

impl Qemu {
    /// Everything that is needed, and QEMU's version in words.
    ///
    /// # Errors
    /// Why this process will not do, in words.
    pub fn find() -> Result<(Self, String), String> {
        // SAFETY: a search by name in what the process has loaded.
        let find = |name: &CStr| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        let qemu = Self::find_with(find)?;
        let (major, minor, micro) = qemu
            .version()
            .ok_or("this QEMU does not tell its version")?;
        let version = format!("{major}.{minor}.{micro}");
        if (major, minor) != TESTED {
            let (major, minor) = TESTED;
            return Err(format!(
                "this is QEMU {version}, whose internals are not those of the tested {major}.{minor}"
            ));
        }
        Ok((qemu, version))
    }

    fn version(&self) -> Option<(i64, i64, i64)> {
        // SAFETY: it makes a new VersionInfo of constants and looks at nothing else; a null `errp` means
        // that the caller does not care for errors (`include/qapi/error.h`).
        let info = unsafe { (self.qmp_query_version)(ptr::null_mut()) };
        // SAFETY: null, or a VersionInfo that is ours now.
        let triple = unsafe { info.as_ref().and_then(|info| info.qemu.as_ref()) };
        let version = triple.map(|triple| (triple.major, triple.minor, triple.micro));
        // SAFETY: nothing points into it any more; freeing null does nothing.
        unsafe { (self.qapi_free_VersionInfo)(info) };
        version
    }

    /// Has the main loop run `callback(opaque)` once, soon; `false` if there is none yet. Any thread may
    /// ask for it.
    ///
    /// # Safety
    /// `callback(opaque)` is sound whenever the main loop runs it, under the big lock.
    pub unsafe fn schedule(&self, callback: Callback, opaque: *mut c_void) -> bool {
        // SAFETY: any thread may ask; null before QEMU has made its main loop.
        let context = unsafe { (self.qemu_get_aio_context)() };
        if context.is_null() {
            return false;
        }
        let name = c"spider-windows".as_ptr();
        // SAFETY: the context lives as long as QEMU does; the function is made for other threads; the
        // caller vouches for the callback.
        unsafe { (self.aio_bh_schedule_oneshot_full)(context, callback, opaque, name) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let find = |name: &CStr| match name.to_bytes() {
            b"memory_region_init_alias" => ptr::null_mut(),
            _ => libc::abs as *mut c_void,
        };
        let error = Qemu::find_with(find).err().unwrap();
        assert_eq!(error, "this QEMU has no memory_region_init_alias");
    }

    #[test]
    fn a_process_that_is_no_qemu_will_not_do() {
        assert!(Qemu::find().is_err());
    }
}
