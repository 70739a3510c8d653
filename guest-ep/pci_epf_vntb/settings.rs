// SPDX-License-Identifier: GPL-2.0

//! What a user sets of a function in configfs: the stock driver's attributes, and those of exported
//! DMA channels.

use kernel::{
    configfs,
    page::PAGE_SIZE,
    prelude::*,
    str::{parse_int::ParseInt, BStr, CString},
    sync::Mutex,
};

use crate::{
    display::Core,
    layout::Layout,
    pci_epf::{Attributes, Group},
    pci_epf_bar::BarNumber,
    vntb::{routing::Routing, MAX_CHANNELS, MAX_DB_COUNT, MAX_MWS, MIN_DB_COUNT},
};

/// The attributes' type.
pub(crate) type ItemType = configfs::ItemType<Group<Settings>, Cfs>;
type Cfs = Attributes<Settings>;

/// The value of each attribute; they are named as in configfs.
#[derive(Clone)]
pub(crate) struct Values {
    pub(crate) db_count: u32,
    pub(crate) spad_count: u32,
    pub(crate) num_mws: u32,
    pub(crate) mws: [u64; MAX_MWS],
    pub(crate) vbus_number: u8,
    pub(crate) vntb_vid: u16,
    pub(crate) vntb_pid: u16,
    pub(crate) ctrl_bar: Option<BarNumber>,
    pub(crate) db_bar: Option<BarNumber>,
    pub(crate) mw_bars: [Option<BarNumber>; MAX_MWS],
    pub(crate) dma_bar: Option<BarNumber>,
    pub(crate) dma_offset: u32,
    pub(crate) dma_num_chans: u32,
    pub(crate) dma_routing: Routings,
}

/// Whom the transfers of each exported channel are told. Written as names with commas between them,
/// the first for channel 0; the last one counts for all channels after it, too.
#[derive(Clone, Copy, Default)]
pub(crate) struct Routings(pub(crate) [Routing; MAX_CHANNELS]);

/// The settings of a function.
#[pin_data]
pub(crate) struct Settings {
    #[pin]
    values: Mutex<Values>,
}

impl Settings {
    /// What a new function has.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            values <- kernel::new_mutex!(Values {
                db_count: 0,
                spad_count: 0,
                num_mws: 0,
                mws: [0; MAX_MWS],
                vbus_number: 0xff,
                vntb_vid: 0,
                vntb_pid: 0,
                ctrl_bar: None,
                db_bar: None,
                mw_bars: [None; MAX_MWS],
                dma_bar: None,
                dma_offset: 0,
                dma_num_chans: 0,
                dma_routing: Routings::default(),
            }),
        })
    }

    /// A copy of all values.
    pub(crate) fn values(&self) -> Values {
        self.values.lock().clone()
    }

    /// Shows the BARs that the layout has chosen.
    pub(crate) fn assigned(&self, layout: &Layout) {
        let mut values = self.values.lock();
        values.ctrl_bar = Some(layout.control_bar);
        values.db_bar = Some(layout.doorbell_bar);
        for (bar, mw) in values.mw_bars.iter_mut().zip(layout.mws()) {
            *bar = Some(mw.bar);
        }
        // CAST: At most `MAX_MWS`.
        values.num_mws = layout.mws().len() as u32;
    }
}

/// A value of an attribute: how it is written and shown.
trait Value: Sized {
    fn parse(text: &BStr) -> Result<Self>;
    fn show(&self) -> Result<CString>;
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn parse(text: &BStr) -> Result<Self> {
                ParseInt::from_str(text)
            }

            fn show(&self) -> Result<CString> {
                CString::try_from_fmt(fmt!("{}\n", *self))
            }
        }
    )*};
}
plain!(u8, u16, u32, u64);

/// A BAR; -1 is none.
impl Value for Option<BarNumber> {
    fn parse(text: &BStr) -> Result<Self> {
        match i64::from_str(text)? {
            -1 => Ok(None),
            number => BarNumber::try_from(number).map(Some),
        }
    }

    fn show(&self) -> Result<CString> {
        match self {
            Some(bar) => u32::from(*bar).show(),
            None => CString::try_from_fmt(fmt!("-1\n")),
        }
    }
}

impl Value for Routings {
    fn parse(text: &BStr) -> Result<Self> {
        let mut all = [Routing::default(); MAX_CHANNELS];
        let mut names = text.split(|byte| *byte == b',');
        let mut last = Routing::default();
        for routing in &mut all {
            if let Some(name) = names.next() {
                last = Routing::from_name(name).ok_or(EINVAL)?;
            }
            *routing = last;
        }
        match names.next() {
            Some(_) => Err(EINVAL),
            None => Ok(Self(all)),
        }
    }

    fn show(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}\n", Core(self)))
    }
}

impl core::fmt::Display for Routings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self([first, rest @ ..]) = self;
        let mut shown = *first;
        write!(f, "{shown}")?;
        for (index, routing) in rest.iter().enumerate() {
            // What follows is all the same, and told already.
            if rest[index..].iter().all(|other| *other == shown) {
                break;
            }
            shown = *routing;
            write!(f, ",{shown}")?;
        }
        Ok(())
    }
}

fn show(value: &impl Value, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
    let text = value.show()?;
    let bytes = text.to_bytes();
    page.get_mut(..bytes.len())
        .ok_or(EINVAL)?
        .copy_from_slice(bytes);
    Ok(bytes.len())
}

fn parse<T: Value>(page: &[u8]) -> Result<T> {
    T::parse(BStr::from_bytes(page.trim_ascii()))
}

/// An attribute: its number, the field behind it, and which values it takes.
macro_rules! attribute {
    ($id:literal, |$values:ident| $field:expr, $fits:expr) => {
        #[vtable]
        impl configfs::AttributeOperations<$id> for Cfs {
            type Data = Self;

            fn show(this: &Self, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                let $values = this.config().values.lock();
                show(&$field, page)
            }

            fn store(this: &Self, page: &[u8]) -> Result {
                this.writable()?;
                let value = parse(page)?;
                let mut $values = this.config().values.lock();
                let fits: fn(&Values, &_) -> Result = $fits;
                fits(&$values, &value)?;
                $field = value;
                Ok(())
            }
        }
    };
    ($id:literal, |$values:ident| $field:expr) => {
        attribute!($id, |$values| $field, |_, _| Ok(()));
    };
}

/// A memory window that there is.
macro_rules! mw {
    ($id:literal, $index:literal) => {
        #[vtable]
        impl configfs::AttributeOperations<$id> for Cfs {
            type Data = Self;

            fn show(this: &Self, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
                let values = this.config().values.lock();
                in_range(&values, $index)?;
                show(&values.mws[$index], page)
            }

            fn store(this: &Self, page: &[u8]) -> Result {
                this.writable()?;
                let value = parse(page)?;
                let mut values = this.config().values.lock();
                in_range(&values, $index)?;
                values.mws[$index] = value;
                Ok(())
            }
        }
    };
}

fn in_range(values: &Values, index: u32) -> Result {
    if index < values.num_mws {
        return Ok(());
    }
    pr_err!(
        "MW{} out of range (num_mws={})\n",
        index + 1,
        values.num_mws
    );
    Err(ERANGE)
}

fn within(range: core::ops::RangeInclusive<u32>, value: u32) -> Result {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

attribute!(0, |values| values.spad_count);
attribute!(1, |values| values.db_count, |_, &count| within(
    MIN_DB_COUNT..=MAX_DB_COUNT,
    count
));
attribute!(2, |values| values.num_mws, |_, &count| within(
    0..=MAX_MWS as u32,
    count
));
mw!(3, 0);
mw!(4, 1);
mw!(5, 2);
mw!(6, 3);
attribute!(7, |values| values.vbus_number);
attribute!(8, |values| values.vntb_pid);
attribute!(9, |values| values.vntb_vid);
attribute!(10, |values| values.ctrl_bar);
attribute!(11, |values| values.db_bar);
attribute!(12, |values| values.mw_bars[0]);
attribute!(13, |values| values.mw_bars[1]);
attribute!(14, |values| values.mw_bars[2]);
attribute!(15, |values| values.mw_bars[3]);
attribute!(16, |values| values.dma_bar);
attribute!(17, |values| values.dma_offset);
attribute!(18, |values| values.dma_num_chans, |_, &count| within(
    0..=MAX_CHANNELS as u32,
    count
));

attribute!(19, |values| values.dma_routing);

/// All attributes, by their names.
pub(crate) fn attributes() -> &'static ItemType {
    kernel::configfs_attrs! {
        container: Group<Settings>,
        data: Cfs,
        attributes: [
            spad_count: 0,
            db_count: 1,
            num_mws: 2,
            mw1: 3,
            mw2: 4,
            mw3: 5,
            mw4: 6,
            vbus_number: 7,
            vntb_pid: 8,
            vntb_vid: 9,
            ctrl_bar: 10,
            db_bar: 11,
            mw1_bar: 12,
            mw2_bar: 13,
            mw3_bar: 14,
            mw4_bar: 15,
            dma_bar: 16,
            dma_offset: 17,
            dma_num_chans: 18,
            dma_routing: 19,
        ],
    }
}
