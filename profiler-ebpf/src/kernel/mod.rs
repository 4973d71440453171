//! Reads of kernel memory at offsets that user space took from BTF.
//!
//! In: kernel pointers. Out: fields. There are no CO-RE relocations: every offset is a constant that the
//! loader fills in before the verifier sees the program; [`MISSING`] says that this kernel has no such field.

pub mod file;
pub mod packet;
pub mod registers;
pub mod sock;
pub mod task;

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Offset of a field that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// A field of a pointer whose type the verifier knows: one plain load.
///
/// # Safety
/// `base` is a typed kernel pointer and `offset` an offset of a field of type `T` in it; the verifier checks
/// both.
#[inline(always)]
pub unsafe fn typed<T: Copy>(base: *const core::ffi::c_void, offset: &Global<u32>) -> T {
    // SAFETY: as the caller promises.
    unsafe { *base.cast::<u8>().add(offset.load() as usize).cast::<T>() }
}

/// A field at any address; `None` if the address cannot be read.
#[inline(always)]
pub fn field<T: Copy>(base: u64, offset: &Global<u32>) -> Option<T> {
    read(base.wrapping_add(u64::from(offset.load())))
}

/// A value at any kernel address; `None` if it cannot be read.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and fills the whole value, or fails.
    unsafe {
        let outcome =
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _);
        if outcome == 0 { Some(value.assume_init()) } else { None }
    }
}

/// Copies kernel bytes; on failure the destination is zeroed by the helper.
///
/// # Safety
/// `to` holds `length` bytes.
#[inline(always)]
pub unsafe fn read_bytes(to: *mut u8, length: u32, address: u64) {
    // SAFETY: as the caller promises.
    unsafe { bpf_probe_read_kernel(to.cast(), length, address as *const _) };
}
