// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the RC's hot-plug slot must do when the link comes and goes: a state machine without sockets or clocks.
//!
//! QEMU freezes a function's BARs and capabilities when it is plugged, so each link-up is a fresh plug of what the EP's
//! driver programmed by then, and each link-down an unplug. An unplug takes the guest's help, and a guest can be booting, busy
//! or dead; so it is asked again until QEMU says that the device is gone.

/// What the follower is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The link came up for the `generation`th time.
    Up {
        /// The device's count of link-ups.
        generation: u32,
    },
    /// The link went down.
    Down,
    /// [`Action::Plug`] was done: QEMU has the device.
    Plugged,
    /// [`Action::Plug`] was refused, and since then there was time to hear why: of a link that bounces, first of all.
    PlugRefused,
    /// QEMU: the device is gone (DEVICE_DELETED).
    Gone,
    /// [`Action::PowerOff`] or [`Action::Remove`] could not be done, or the device is still there some time after it.
    StillThere,
}

/// What is to be done; each is answered by an [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Plug the function into the RC's slot (QMP device_add).
    Plug,
    /// Let the RC's guest switch the slot off: QEMU unplugs at once.
    PowerOff,
    /// Press the attention button (QMP device_del): the guest takes five seconds and more.
    Remove,
    /// The slot cannot be filled: the run has failed.
    GiveUp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Empty,
    Plugging {
        generation: u32,
        tries: u32,
    },
    Full {
        generation: u32,
    },
    Emptying {
        tries: u32,
    },
}

/// The slot and the link as last heard of.
#[derive(Debug, Default)]
pub struct Follower {
    slot: Slot,
    link: Option<u32>,
}

impl Follower {
    /// How often the plug of one link is tried.
    const PLUG_TRIES: u32 = 3;

    /// Takes what happened; gives what is to be done now, if anything.
    pub fn step(&mut self, input: Input) -> Option<Action> {
        match input {
            Input::Up { generation } => self.link = Some(generation),
            Input::Down => self.link = None,
            Input::Plugged => {
                if let Slot::Plugging { generation, .. } = self.slot {
                    self.slot = Slot::Full { generation };
                }
            }
            Input::PlugRefused => {
                if let Slot::Plugging { generation, tries } = self.slot {
                    self.slot = Slot::Empty;
                    // A refusal says something of the link that was tried, nothing of one that has come up since.
                    if self.link == Some(generation) {
                        if tries >= Self::PLUG_TRIES {
                            return Some(Action::GiveUp);
                        }
                        let tries = tries + 1;
                        self.slot = Slot::Plugging { generation, tries };
                        return Some(Action::Plug);
                    }
                }
            }
            // Also when the guest switched the slot off of its own accord; it then stays empty until the next link-up.
            Input::Gone => {
                let was_full = matches!(self.slot, Slot::Full { .. });
                self.slot = Slot::Empty;
                if was_full {
                    return None;
                }
            }
            Input::StillThere => {
                if let Slot::Emptying { tries } = self.slot {
                    self.slot = Slot::Emptying {
                        tries: tries.saturating_add(1),
                    };
                    // The quick way once more from time to time: the guest may have been booting.
                    return Some(if tries % 2 == 0 {
                        Action::Remove
                    } else {
                        Action::PowerOff
                    });
                }
            }
        }
        self.settle()
    }

    /// Moves the slot towards what the link wants.
    fn settle(&mut self) -> Option<Action> {
        match (self.slot, self.link) {
            (Slot::Empty, Some(generation)) => {
                self.slot = Slot::Plugging {
                    generation,
                    tries: 1,
                };
                Some(Action::Plug)
            }
            (Slot::Full { generation }, link) if link != Some(generation) => {
                self.slot = Slot::Emptying { tries: 0 };
                Some(Action::PowerOff)
            }
            _ => None,
        }
    }

    /// Whether the slot holds what the link offers now.
    pub fn plugged(&self) -> bool {
        matches!((self.slot, self.link), (Slot::Full { generation }, Some(now)) if generation == now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::*;
    use Input::*;

    /// Each input with the action that it must lead to.
    fn play(steps: &[(Input, Option<Action>)]) -> Follower {
        let mut follower = Follower::default();
        for (n, &(input, action)) in steps.iter().enumerate() {
            assert_eq!(follower.step(input), action, "step {n}: {input:?}");
        }
        follower
    }

    fn up(generation: u32) -> Input {
        Up { generation }
    }

    #[test]
    fn the_device_comes_and_goes_with_the_link() {
        let follower = play(&[
            (Down, None),
            (up(1), Some(Plug)),
            (Plugged, None),
            (Down, Some(PowerOff)),
            (Gone, None),
            (up(2), Some(Plug)),
            (Plugged, None),
        ]);
        assert!(follower.plugged());
    }

    #[test]
    fn a_link_that_returns_during_the_unplug_is_plugged_after_it() {
        let follower = play(&[
            (up(1), Some(Plug)),
            (Plugged, None),
            (Down, Some(PowerOff)),
            (up(2), None),
            (Gone, Some(Plug)),
        ]);
        assert!(!follower.plugged());
    }

    #[test]
    fn a_link_that_goes_during_the_plug_is_unplugged_after_it() {
        play(&[
            (up(1), Some(Plug)),
            (Down, None),
            (Plugged, Some(PowerOff)),
            (Gone, None),
        ]);
    }

    #[test]
    fn a_bounce_during_the_plug_is_a_new_device() {
        play(&[
            (up(1), Some(Plug)),
            (Down, None),
            (up(2), None),
            (Plugged, Some(PowerOff)),
            (Gone, Some(Plug)),
        ]);
    }

    #[test]
    fn an_unplug_is_asked_for_until_it_happens() {
        play(&[
            (up(1), Some(Plug)),
            (Plugged, None),
            (Down, Some(PowerOff)),
            (StillThere, Some(Remove)),
            (StillThere, Some(PowerOff)),
            (StillThere, Some(Remove)),
            (Gone, None),
            (StillThere, None), // a timer that was still running
        ]);
    }

    #[test]
    fn a_plug_is_tried_again_while_the_link_stands_and_then_given_up() {
        play(&[
            (up(1), Some(Plug)),
            (PlugRefused, Some(Plug)),
            (PlugRefused, Some(Plug)),
            (PlugRefused, Some(GiveUp)),
        ]);
        play(&[
            (up(1), Some(Plug)),
            (Down, None),
            (PlugRefused, None),
            (up(2), Some(Plug)),
        ]);
    }

    #[test]
    fn only_refusals_of_the_link_that_stands_count() {
        let mut steps = vec![(up(1), Some(Plug))];
        for generation in 2..20 {
            steps.extend([
                (Down, None),
                (up(generation), None),
                (PlugRefused, Some(Plug)),
            ]);
        }
        steps.extend([
            (PlugRefused, Some(Plug)),
            (PlugRefused, Some(Plug)),
            (PlugRefused, Some(GiveUp)),
        ]);
        play(&steps);
    }

    #[test]
    fn a_guest_that_switches_its_slot_off_keeps_it_empty_until_the_next_link_up() {
        let follower = play(&[
            (up(1), Some(Plug)),
            (Plugged, None),
            (Gone, None),
            (Down, None),
            (up(2), Some(Plug)),
        ]);
        assert!(!follower.plugged());
    }
}
