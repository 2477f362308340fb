//! Shared memory: the index of the engine's log, which the connections of one process share, and the locks on it.
//!
//! It is memory only: a new process begins without it, and the engine makes it again from the log. Regions have a fixed place for as long as any
//! connection has them mapped, as the engine keeps pointers into them.

use std::sync::atomic::AtomicU64;

/// How many locks there are.
pub(super) const SLOTS: usize = 8;

/// Which locks one connection holds.
#[derive(Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) mapped: bool,
    shared: u8,
    exclusive: u8,
}

/// The memory of one database.
#[derive(Default)]
pub(super) struct SharedMemory {
    regions: Vec<Box<[AtomicU64]>>,
    mapped: u32,
    shared: [u32; SLOTS],
    exclusive: u8,
}

impl SharedMemory {
    /// A region, made when `extend` says so.
    pub(super) fn region(&mut self, held: &mut Held, no: usize, bytes: usize, extend: bool) -> Option<*mut u8> {
        if !held.mapped {
            held.mapped = true;
            self.mapped += 1;
        }
        while extend && self.regions.len() <= no {
            self.regions.push((0..bytes / 8).map(|_| AtomicU64::new(0)).collect());
        }
        // Atomics may be written through a shared pointer, which is what the engine does.
        self.regions.get(no).map(|region| region.as_ptr().cast_mut().cast())
    }

    /// Lets go of it. True when nobody has it any more.
    pub(super) fn unmap(&mut self, held: &mut Held) -> bool {
        if held.mapped {
            self.unlock(held, u8::MAX);
            held.mapped = false;
            self.mapped -= 1;
        }
        self.mapped == 0
    }

    /// Locks slots for reading; false when somebody writes.
    pub(super) fn lock_shared(&mut self, held: &mut Held, slots: u8) -> bool {
        let new = slots & !held.shared;
        if self.exclusive & new != 0 {
            return false;
        }
        each(new, |slot| self.shared[slot] += 1);
        held.shared |= new;
        true
    }

    /// Locks slots for writing; false when anybody else holds one of them.
    pub(super) fn lock_exclusive(&mut self, held: &mut Held, slots: u8) -> bool {
        let new = slots & !held.exclusive;
        let mut is_free = self.exclusive & new == 0;
        each(new, |slot| is_free &= self.shared[slot] == 0);
        if is_free {
            self.exclusive |= new;
            held.exclusive |= new;
        }
        is_free
    }

    /// Unlocks slots.
    pub(super) fn unlock(&mut self, held: &mut Held, slots: u8) {
        each(held.shared & slots, |slot| self.shared[slot] -= 1);
        held.shared &= !slots;
        self.exclusive &= !(held.exclusive & slots);
        held.exclusive &= !slots;
    }
}

fn each(slots: u8, mut f: impl FnMut(usize)) {
    (0..SLOTS).filter(|slot| slots & (1 << slot) != 0).for_each(&mut f);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_wait_for_readers_and_everybody_for_writers() {
        let (mut memory, mut one, mut other) = (SharedMemory::default(), Held::default(), Held::default());
        memory.region(&mut one, 0, 32_768, true).unwrap();
        memory.region(&mut other, 0, 32_768, false).unwrap();
        assert!(memory.lock_shared(&mut one, 0b10) && memory.lock_shared(&mut other, 0b10));
        assert!(!memory.lock_exclusive(&mut one, 0b11));
        memory.unlock(&mut one, 0b10);
        memory.unlock(&mut other, 0b10);
        assert!(memory.lock_exclusive(&mut one, 0b11) && !memory.lock_shared(&mut other, 0b01));
        assert!(!memory.unmap(&mut one), "the other one still has it");
        assert!(memory.lock_shared(&mut other, 0b01), "who is gone holds nothing");
        assert!(memory.unmap(&mut other));
    }
}
