//! A program without std that carries the device's crates. It is built and never run.
#![no_std]

extern crate alloc;
#[cfg(feature = "impure")]
extern crate std;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use identity as _;
use messaging as _;
use policy as _;

struct None;

// SAFETY: it gives out nothing.
unsafe impl GlobalAlloc for None {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: None = None;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
