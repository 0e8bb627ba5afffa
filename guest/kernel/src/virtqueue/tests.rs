use super::*;

/// A device that takes chains and answers them in any order.
struct Device {
    size: u16,
    taken: u16,
    answered: u16,
    event_idx: bool,
}

impl Device {
    fn new(size: u16, event_idx: bool) -> Self {
        Self {
            size,
            taken: 0,
            answered: 0,
            event_idx,
        }
    }

    /// Takes the next chain, and asks to be told of the one after it. Returns its head.
    fn take(&mut self, areas: &Areas) -> Option<u16> {
        if areas.available[1].load(Relaxed) == self.taken {
            return None;
        }
        let head = areas.available[2 + usize::from(self.taken % self.size)].load(Relaxed);
        self.taken = self.taken.wrapping_add(1);
        if self.event_idx {
            areas.used.0[2 + 4 * usize::from(self.size)].store(self.taken, Relaxed);
        }
        Some(head)
    }

    fn answer(&mut self, areas: &Areas, head: u16) {
        areas.used.0[2 + 4 * usize::from(self.answered % self.size)].store(head, Relaxed);
        self.answered = self.answered.wrapping_add(1);
        areas.used.0[1].store(self.answered, Relaxed);
    }
}

/// Answers in another order than the questions, around the ends of the rings and of the indices, with both sizes of queue.
#[test]
fn answers_in_any_order() {
    for (size, event_idx) in [(64, false), (64, true), (32, true)] {
        let (areas, ring) = (Areas::new(), Ring::new());
        ring.start(&areas, size, event_idx);
        let mut device = Device::new(size, event_idx);
        for round in 0..5000_u32 {
            let chains = [3, 0, 15, 7].map(|chain| (chain + round as usize * 5) % CHAINS_MAX);
            for chain in chains {
                assert!(ring.publish(&areas, chain), "it waits, having taken all");
                let head = device.take(&areas).expect("a chain");
                assert_eq!(usize::from(head), if chain == 0 { CHAINS_MAX } else { chain });
            }
            assert_eq!(device.take(&areas), None);
            assert_eq!(ring.answered(&areas), None);
            for at in [2, 0, 3, 1] {
                let chain = chains[at];
                device.answer(&areas, if chain == 0 { CHAINS_MAX } else { chain } as u16);
                assert_eq!(ring.answered(&areas), Some(Some(chain)));
            }
            assert_eq!(ring.answered(&areas), None);
        }
    }
}

/// A device that still looks for chains is not told, by its flag or by its index; one that has looked is.
#[test]
fn who_looks_is_not_told() {
    let (areas, ring) = (Areas::new(), Ring::new());
    ring.start(&areas, 64, false);
    areas.used.0[0].store(NO_NOTIFY, Relaxed);
    assert!(!ring.publish(&areas, 0));
    areas.used.0[0].store(0, Relaxed);
    assert!(ring.publish(&areas, 1));

    let (areas, ring) = (Areas::new(), Ring::new());
    ring.start(&areas, 64, true);
    areas.used.0[0].store(NO_NOTIFY, Relaxed);
    assert!(ring.publish(&areas, 0), "the flag means nothing");
    assert!(
        !ring.publish(&areas, 1),
        "it was told of the one before, and has not looked"
    );
    let mut device = Device::new(64, true);
    device.take(&areas);
    device.take(&areas);
    assert!(ring.publish(&areas, 2));
}

/// What the device writes is not believed.
#[test]
fn answers_to_nothing() {
    let (areas, ring) = (Areas::new(), Ring::new());
    ring.start(&areas, 64, false);
    let mut device = Device::new(64, false);
    for head in [CHAINS_MAX as u16 + 1, 63, 64, u16::MAX] {
        device.answer(&areas, head);
        assert_eq!(ring.answered(&areas), Some(None));
    }
}

/// What is asked for is told once: at the first answer that was not taken in, whenever it comes; without being asked, at no answer that the
/// driver waits for. Source: VIRTIO 1.2, 2.7.10.
#[test]
fn interrupts_are_asked_for() {
    const SIZE: u16 = 64;
    let (areas, ring) = (Areas::new(), Ring::new());
    ring.start(&areas, SIZE, true);
    let mut device = Device::new(SIZE, true);
    // As the device decides after one more answer: has it passed the index that was asked for?
    let asked = |answered: u16| areas.available[2 + usize::from(SIZE)].load(Relaxed) == answered.wrapping_sub(1);
    for round in 0..1000 {
        for chain in 1..4 {
            assert!(ring.publish(&areas, chain));
            device.take(&areas);
        }
        device.answer(&areas, 1);
        assert!(!asked(device.answered), "round {round}");
        assert_eq!(ring.answered(&areas), Some(Some(1)));
        ring.interrupt_at_next(&areas);
        device.answer(&areas, 2);
        assert!(asked(device.answered), "round {round}");
        device.answer(&areas, 3);
        assert!(!asked(device.answered), "round {round}: once");
        assert_eq!(
            [ring.answered(&areas), ring.answered(&areas)],
            [Some(Some(2)), Some(Some(3))]
        );
    }
}
