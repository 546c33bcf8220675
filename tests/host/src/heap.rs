//! The memory of one state: counted, limited as on Ceph 20, and refused where a test wants it.

use std::cell::Cell;
use std::ffi::c_void;

/// Which requests for memory are refused. They are counted from 1, those alone that take more than they had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This one. Lua collects its garbage and asks again, and then gets it.
    Once(u64),
    /// This one and the next, which is Lua's second try: the operation fails, and the next one has memory again.
    Twice(u64),
    /// This one and all after it.
    From(u64),
}

/// What a state's allocator has given out, and what it will not.
#[derive(Debug, Default)]
pub struct Heap {
    used: Cell<usize>,
    peak: Cell<usize>,
    limit: Cell<Option<usize>>,
    asked: Cell<u64>,
    refusal: Cell<Option<Refusal>>,
    refused: Cell<u64>,
}

impl Heap {
    /// A heap with a limit in bytes, as `rgw_lua_max_memory_per_state` sets one.
    pub fn limited(limit: Option<usize>) -> Heap {
        Heap { limit: Cell::new(limit), ..Heap::default() }
    }

    /// Begins to count requests anew, and to refuse.
    pub fn refuse(&self, refusal: Refusal) {
        self.asked.set(0);
        self.refused.set(0);
        self.refusal.set(Some(refusal));
    }

    /// Refuses no more. Says how many requests it did refuse.
    pub fn relent(&self) -> u64 {
        self.refusal.set(None);
        self.refused.get()
    }

    /// The most bytes that were in use at a time.
    pub fn peak(&self) -> usize {
        self.peak.get()
    }

    /// Whether a request for so many further bytes is granted.
    fn grants(&self, more: usize) -> bool {
        let place = self.asked.get() + 1;
        self.asked.set(place);
        let refused = match self.refusal.get() {
            None => false,
            Some(Refusal::Once(at)) => place == at,
            Some(Refusal::Twice(at)) => place == at || place == at + 1,
            Some(Refusal::From(at)) => place >= at,
        };
        let over = self.limit.get().is_some_and(|limit| self.used.get() + more > limit);
        if refused || over {
            self.refused.set(self.refused.get() + 1);
            return false;
        }
        true
    }
}

/// Gives Lua memory, from C's heap, as RGW's allocator does.
///
/// # Safety
/// For Lua to call; `heap` must point to a [`Heap`].
pub unsafe extern "C-unwind" fn allocate(heap: *mut c_void, block: *mut c_void, old: usize, new: usize) -> *mut c_void {
    // SAFETY: the state was made with a heap that outlives it; blocks come from here alone. The old size of what is no
    // block yet is the type of what it will be.
    unsafe {
        let heap = &*heap.cast::<Heap>();
        let old = if block.is_null() { 0 } else { old };
        if new == 0 {
            heap.used.set(heap.used.get() - old);
            libc::free(block);
            return std::ptr::null_mut();
        }
        // Lua relies on it that a block can always be made smaller.
        if new > old && !heap.grants(new - old) {
            return std::ptr::null_mut();
        }
        let block = libc::realloc(block, new);
        if !block.is_null() {
            heap.used.set(heap.used.get() - old + new);
            heap.peak.set(heap.peak.get().max(heap.used.get()));
        }
        block
    }
}
