// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever either guest does, the controller does not panic, and what it says stays consistent.

mod silicon_common;

use abi::{app, spider};
use proptest::prelude::*;
use qemu_device::controller::{Config, Controller, Effect, Effects, Width};
use qemu_device::ep_face::EpFace;
use qemu_device::fabric;
use qemu_device::rc_face::RcFace;

/// One thing that a guest or its QEMU can do.
#[derive(Clone, Debug)]
enum Action {
    EpRead(u64, Width),
    EpWrite(u64, Width, u32),
    RcRead(u64, usize),
    RcWrite(u64, Vec<u8>),
    RcReset,
    PowerOn,
    Ltssm(u32),
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![Just(Width::Byte), Just(Width::Word), Just(Width::Dword)]
}

/// Mostly inside the windows, and then mostly where registers are.
fn mirror_offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..u64::from(spider::REGISTERS_SIZE),
        4 => 0..0x120u64,
        2 => (spider::APP.offset..spider::APP.offset + 0x18).prop_map(u64::from),
        2 => (spider::DMA.offset..spider::DMA.offset + 0x400).prop_map(u64::from),
        1 => any::<u64>(),
    ]
}

fn config_offset() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..0x120u64, 3 => 0..4100u64, 1 => any::<u64>()]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (mirror_offset(), width()).prop_map(|(at, width)| Action::EpRead(at, width)),
        12 => (mirror_offset(), width(), any::<u32>())
            .prop_map(|(at, width, value)| Action::EpWrite(at, width, value)),
        3 => (config_offset(), 0..12usize).prop_map(|(at, len)| Action::RcRead(at, len)),
        6 => (config_offset(), proptest::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(at, data)| Action::RcWrite(at, data)),
        1 => Just(Action::RcReset),
        1 => Just(Action::PowerOn),
        2 => prop_oneof![Just(0u32), Just(1), Just(0x1_0001)].prop_map(Action::Ltssm),
    ]
}

/// What is likely to change where addresses lead: COMMAND, BARs, power state, MSI.
fn rerouting() -> impl Strategy<Value = Action> {
    let places = vec![0x04u64, 0x10, 0x18, 0x20, 0x44, 0x50, 0x54, 0x58];
    (
        proptest::sample::select(places),
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(at, value, rc)| {
            if rc {
                Action::RcWrite(at, value.to_le_bytes().to_vec())
            } else {
                Action::EpWrite(at, Width::Dword, value)
            }
        })
}

fn perform(controller: &mut Controller, action: &Action, effects: &mut Effects) {
    match action {
        Action::EpRead(at, width) => {
            let _ = controller.ep_read(*at, *width);
        }
        Action::EpWrite(at, width, value) => {
            let _ = controller.ep_write(*at, *width, *value, effects);
        }
        Action::RcRead(at, len) => controller.rc_config_read(*at, &mut vec![0; *len]),
        Action::RcWrite(at, data) => controller.rc_config_write(*at, data, effects),
        Action::RcReset => controller.rc_reset(),
        Action::PowerOn => controller.power_on_reset(effects),
        Action::Ltssm(value) => {
            let at = u64::from(spider::APP.offset + app::RESET_CONTROL_1);
            let _ = controller.ep_write(at, Width::Dword, *value, effects);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn anything_goes_and_the_link_alternates(
        channels in proptest::option::of(0..=255u8),
        actions in proptest::collection::vec(action(), 0..120),
    ) {
        let mut controller = Controller::new(Config { edma_channels: channels });
        let mut up = false;
        for action in &actions {
            let line = controller.ep_interrupt_line();
            let mut effects = Effects::new();
            perform(&mut controller, action, &mut effects);
            for effect in effects.as_slice() {
                match effect {
                    Effect::LinkUp => {
                        prop_assert!(!up, "{:?}: up twice", action);
                        up = true;
                    }
                    Effect::LinkDown => {
                        prop_assert!(up, "{:?}: down twice", action);
                        up = false;
                    }
                    Effect::EpInterrupt
                    | Effect::DmaReady
                    | Effect::DmaMessage { .. } => {}
                }
            }
            prop_assert_eq!(controller.link_up(), up, "{:?}", action);
            if controller.ep_interrupt_line() && !line {
                prop_assert!(
                    effects.as_slice().contains(&Effect::EpInterrupt),
                    "{:?}: the line rose unnoticed", action
                );
            }
        }
        let tree = controller.inspect();
        prop_assert_eq!(&tree["link"]["up"], up);
        let face = RcFace::plug(&controller);
        for index in 0..6 {
            let size = face.region_size(index).unwrap_or(1);
            prop_assert!(size == 0 || size.is_power_of_two(), "QEMU asserts on BAR size {size}");
        }
        prop_assert!((1..=32).contains(&face.irq_count(1).unwrap_or(0)));
    }

    /// Both sides read the same registers, byte for byte, while the link is up.
    #[test]
    fn both_sides_see_the_same_configuration(
        actions in proptest::collection::vec(action(), 0..60),
        offset in 0..0x700u64,
        width in width(),
    ) {
        let mut controller = Controller::new(Config::default());
        for action in &actions {
            perform(&mut controller, action, &mut Effects::new());
        }
        perform(&mut controller, &Action::Ltssm(1), &mut Effects::new());
        let offset = offset.min(0x700 - width.bytes() as u64);
        let mut bytes = [0; 4];
        controller.rc_config_read(offset, &mut bytes[..width.bytes()]);
        prop_assert_eq!(controller.ep_read(offset, width), Ok(u32::from_le_bytes(bytes)));
    }

    /// A write in one piece and the same bytes one by one leave the same registers behind, wherever a
    /// write is no command.
    #[test]
    fn the_width_of_a_write_does_not_matter(
        offset in 0..0x700u64,
        data in proptest::collection::vec(any::<u8>(), 1..9),
    ) {
        // DEVCTL holds the FLR command.
        prop_assume!(offset + data.len() as u64 <= 0x78 || offset >= 0x7a);
        let mut whole = silicon_common::Board::running();
        let mut bytewise = silicon_common::Board::running();
        whole.controller.rc_config_write(offset, &data, &mut whole.effects);
        for (at, byte) in data.iter().enumerate() {
            let at = offset + at as u64;
            bytewise.controller.rc_config_write(at, &[*byte], &mut bytewise.effects);
        }
        for register in (0..0x700).step_by(4) {
            prop_assert_eq!(
                whole.config_read(register), bytewise.config_read(register), "{:#x}", register
            );
        }
    }

    /// Whoever has looked an address up need not look again while the number of changes is the same.
    #[test]
    fn no_address_leads_elsewhere_unnoticed(
        actions in proptest::collection::vec(prop_oneof![2 => action(), 1 => rerouting()], 0..80),
    ) {
        let mut board = silicon_common::Board::running();
        let bars = board.ep_face.bars();
        let answers = |controller: &Controller| {
            let inbound = [0u8, 2, 4].map(|bar| {
                [0, 0x80, 0x8_0000].map(|at| fabric::from_rc_bar(controller, bars, bar, at, 1 << 20))
            });
            let window = [0, 0x1000, 0x20_0000];
            (inbound, window.map(|at| fabric::from_ep_window(controller, bars, at, 1 << 20)))
        };
        for action in &actions {
            let (routes, before) = (board.controller.routes(), answers(&board.controller));
            perform(&mut board.controller, action, &mut Effects::new());
            if board.controller.routes() == routes {
                prop_assert_eq!(answers(&board.controller), before, "{:?}", action);
            }
        }
    }

    /// A reset by the RC comes to the same whatever the RC has done before.
    #[test]
    fn a_reset_function_knows_nothing_of_the_rc(
        writes in proptest::collection::vec(
            (0..0x120u64, proptest::collection::vec(any::<u8>(), 1..5)), 0..50
        ),
    ) {
        let mut used = silicon_common::Board::running();
        let mut fresh = silicon_common::Board::running();
        for (offset, data) in &writes {
            used.controller.rc_config_write(*offset, data, &mut used.effects);
        }
        used.controller.rc_reset();
        fresh.controller.rc_reset();
        // LNKCTL2 survives a function's reset.
        for register in (0..0x120).step_by(4).filter(|register| *register != 0xa0) {
            prop_assert_eq!(used.config_read(register), fresh.config_read(register), "{:#x}", register);
        }
    }

    #[test]
    fn the_ep_face_takes_anything(
        writes in proptest::collection::vec(
            (config_offset(), proptest::collection::vec(any::<u8>(), 0..12)), 0..50
        ),
    ) {
        let mut face = EpFace::new();
        let mut identity = [0; 4];
        for (offset, data) in &writes {
            face.config_write(*offset, data);
            let bars = face.bars();
            let aligned = |address: Option<u64>, size: u32| {
                address.is_none_or(|address| address % u64::from(size) == 0)
            };
            prop_assert!(aligned(bars.registers, spider::REGISTERS_SIZE));
            prop_assert!(aligned(bars.window, spider::WINDOW_SIZE));
        }
        face.config_read(0, &mut identity);
        prop_assert_eq!(u32::from_le_bytes(identity), 0x779f_1234);
    }
}
