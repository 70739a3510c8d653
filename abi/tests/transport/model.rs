// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Two sides and the link between them. The link delivers posted writes in order, whenever it likes;
//! either side may start again at any time. What must hold is asserted where it happens: no frame is
//! written into a buffer that its owner has taken back, none arrives damaged, twice or out of order, and
//! no side finds a rule broken.

use std::collections::{BTreeSet, HashSet, VecDeque};

use abi::transport::ring::{Buffer, Completion, Place, Receiver, Sender};
use abi::transport::session::{Handshake, Header, Step};

/// Entries of each ring.
const ENTRIES: u32 = 2;
/// Bytes of each buffer.
const MAX: u32 = 8;

/// What a posted write carries. Parts that are written by several stores are delivered apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Write {
    /// A word of the header.
    Header(usize, u32),
    /// A word of the buffers ring.
    Buffer(usize, u32),
    BuffersHead(u32),
    /// A word of the completions ring.
    Completion(usize, u32),
    CompletionsHead(u32),
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct Window {
    header: [u32; Header::WORDS],
    buffers: [u32; ENTRIES as usize * Buffer::WORDS],
    buffers_head: u32,
    completions: [u32; ENTRIES as usize * Completion::WORDS],
    completions_head: u32,
}

impl Window {
    fn take(&mut self, write: Write) {
        match write {
            Write::Header(at, word) => self.header[at] = word,
            Write::Buffer(at, word) => self.buffers[at] = word,
            Write::BuffersHead(head) => self.buffers_head = head,
            Write::Completion(at, word) => self.completions[at] = word,
            Write::CompletionsHead(head) => self.completions_head = head,
        }
    }

    fn peer(&self) -> Option<Header> {
        Header::decode(&self.header).expect("header")
    }
}

/// A receive buffer: when it was posted, and the frame in it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Memory {
    session: u32,
    frame: Option<u32>,
}

#[derive(Clone)]
struct Side {
    handshake: Handshake,
    window: Window,
    receiver: Receiver,
    sender: Sender,
    /// Receive buffers by address. Those of earlier sessions stay until the peer has left them.
    memory: Vec<Option<Memory>>,
    /// Posted buffers of this session by slot.
    posted: [u64; ENTRIES as usize],
    /// Transfers under way: where to, and which frame.
    flying: VecDeque<(u64, u32)>,
    /// Frames that are still to be sent; numbers go down.
    frames: u32,
    /// Frames of the peer's that arrived.
    got: Vec<u32>,
    restarts: u32,
}

impl Side {
    fn new(nonce: u32, frames: u32, restarts: u32) -> Self {
        Self {
            handshake: Handshake::new(nonce),
            window: Window::default(),
            receiver: Receiver::new(ENTRIES),
            sender: Sender::new(ENTRIES),
            memory: Vec::new(),
            posted: [0; ENTRIES as usize],
            flying: VecDeque::new(),
            frames,
            got: Vec::new(),
            restarts,
        }
    }

    fn header(&self) -> Header {
        Header {
            session: self.handshake.session(),
            answered: self.handshake.answered(),
            queues: 1,
            entries: 16,
            max_frame: MAX,
        }
    }

    fn place(&self, session: u32, index: u32) -> Place {
        Place {
            session,
            queue: 0,
            index,
        }
    }
}

/// Everything that is, as a state.
#[derive(Clone)]
struct Pair {
    sides: [Side; 2],
    /// Writes on their way to side 0 and to side 1.
    link: [VecDeque<Write>; 2],
    /// Deliver headers and entries word by word, and not in as few pieces as differ.
    by_word: bool,
}

/// What can be done at a side.
const ACTIONS: usize = 9;

impl Pair {
    fn new(frames: [u32; 2], restarts: [u32; 2], by_word: bool) -> Self {
        let mut pair = Self {
            sides: [
                Side::new(0x10, frames[0], restarts[0]),
                Side::new(0x20, frames[1], restarts[1]),
            ],
            link: Default::default(),
            by_word,
        };
        pair.publish(0);
        pair.publish(1);
        pair
    }

    fn send(&mut self, from: usize, write: Write) {
        self.link[1 - from].push_back(write);
    }

    fn publish(&mut self, me: usize) {
        self.write_header(me, self.sides[me].header());
    }

    fn write_header(&mut self, me: usize, header: Header) {
        for (at, word) in header.encode().into_iter().enumerate() {
            self.send(me, Write::Header(at, word));
        }
    }

    /// Does `action` at side `me`; `false` if there is nothing to do.
    fn act(&mut self, me: usize, action: usize) -> bool {
        match action {
            0 => self.deliver(me),
            1 => self.shake(me),
            2 => self.post(me),
            3 => self.start(me),
            4 => self.finish(me),
            5 => self.receive(me),
            6 => self.take_back(me),
            7 => self.restart(me, false),
            _ => self.restart(me, true),
        }
    }

    fn deliver(&mut self, me: usize) -> bool {
        let Some(first) = self.link[me].pop_front() else {
            return false;
        };
        let kind = std::mem::discriminant(&first);
        // In a header only the last two words can change, and are delivered apart.
        let apart = matches!(first, Write::Header(at, _) if at + 2 >= Header::WORDS);
        self.sides[me].window.take(first);
        while !self.by_word && !apart {
            match self.link[me].front() {
                Some(Write::Header(at, _)) if at + 2 >= Header::WORDS => break,
                Some(next) if std::mem::discriminant(next) == kind => {}
                _ => break,
            }
            let next = self.link[me].pop_front().unwrap();
            self.sides[me].window.take(next);
        }
        true
    }

    fn shake(&mut self, me: usize) -> bool {
        let peer = self.sides[me].window.peer();
        let was_up = self.sides[me].handshake.is_up();
        match self.sides[me].handshake.step(peer.as_ref()) {
            Step::Wait => false,
            Step::Up => !was_up,
            Step::Answer => {
                let side = &mut self.sides[me];
                side.window = Window {
                    header: side.window.header,
                    ..Window::default()
                };
                side.receiver = Receiver::new(ENTRIES);
                side.sender = Sender::new(ENTRIES);
                side.handshake.answer(peer.unwrap().session);
                self.publish(me);
                true
            }
            Step::Restart => {
                self.begin_again(me);
                self.publish(me);
                true
            }
        }
    }

    fn begin_again(&mut self, me: usize) {
        let side = &mut self.sides[me];
        // Stopped: transfers under way are terminated, and write no more.
        side.flying.clear();
        let session = side.handshake.session();
        side.handshake.restart(session);
    }

    fn restart(&mut self, me: usize, farewell: bool) -> bool {
        if self.sides[me].restarts == 0 {
            return false;
        }
        self.sides[me].restarts -= 1;
        self.begin_again(me);
        if farewell {
            let none = Header {
                session: 0,
                answered: 0,
                ..self.sides[me].header()
            };
            self.write_header(me, none);
        }
        self.publish(me);
        true
    }

    fn post(&mut self, me: usize) -> bool {
        let side = &mut self.sides[me];
        // One is enough where all orders are tried.
        if !side.handshake.is_up() || (!self.by_word && side.receiver.head() > 0) {
            return false;
        }
        let Some(index) = side.receiver.post() else {
            return false;
        };
        let address = side.memory.len() as u64;
        let session = side.handshake.session();
        side.memory.push(Some(Memory {
            session,
            frame: None,
        }));
        let slot = (index % ENTRIES) as usize;
        side.posted[slot] = address;
        let words = Buffer { address, len: MAX }.encode(side.place(session, index));
        let head = side.receiver.head();
        for (at, word) in words.into_iter().enumerate() {
            self.send(me, Write::Buffer(slot * Buffer::WORDS + at, word));
        }
        self.send(me, Write::BuffersHead(head));
        true
    }

    fn start(&mut self, me: usize) -> bool {
        let side = &mut self.sides[me];
        if !side.handshake.is_up() || side.frames == 0 {
            return false;
        }
        // The header as it is now: a peer that has started again is noticed before its rings are used.
        if side
            .sender
            .announce(side.window.buffers_head)
            .expect("buffers")
            == 0
        {
            return false;
        }
        let index = side.sender.take().unwrap();
        let at = (index % ENTRIES) as usize * Buffer::WORDS;
        let words = side.window.buffers[at..][..Buffer::WORDS]
            .try_into()
            .unwrap();
        let place = side.place(side.handshake.answered(), index);
        let buffer = Buffer::decode(words, place, MAX).expect("buffer");
        side.flying.push_back((buffer.address, side.frames));
        side.frames -= 1;
        true
    }

    fn finish(&mut self, me: usize) -> bool {
        let Some((address, frame)) = self.sides[me].flying.pop_front() else {
            return false;
        };
        let memory = &mut self.sides[1 - me].memory[address as usize];
        let memory = memory
            .as_mut()
            .expect("a frame was written to a buffer that was taken back");
        assert_eq!(
            memory.frame.replace(frame),
            None,
            "a buffer was filled twice"
        );
        let side = &mut self.sides[me];
        let index = side.sender.complete().unwrap();
        let slot = (index % ENTRIES) as usize;
        let place = side.place(side.handshake.session(), index);
        let words = Completion {
            len: 1 + frame % MAX,
        }
        .encode(place);
        let head = side.sender.head();
        for (at, word) in words.into_iter().enumerate() {
            self.send(me, Write::Completion(slot * Completion::WORDS + at, word));
        }
        self.send(me, Write::CompletionsHead(head));
        true
    }

    fn receive(&mut self, me: usize) -> bool {
        let side = &mut self.sides[me];
        if !side.handshake.is_up() {
            return false;
        }
        let head = side.window.completions_head;
        if side.receiver.announce(head).expect("completions") == 0 {
            return false;
        }
        let index = side.receiver.take().unwrap();
        let slot = (index % ENTRIES) as usize;
        let at = slot * Completion::WORDS;
        let words = side.window.completions[at..][..Completion::WORDS]
            .try_into()
            .unwrap();
        let place = side.place(side.handshake.answered(), index);
        let completion = Completion::decode(words, place, MAX).expect("completion");
        let memory = side.memory[side.posted[slot] as usize].take();
        let frame = memory
            .expect("mine")
            .frame
            .expect("a completion without a frame");
        assert_eq!(
            completion.len,
            1 + frame % MAX,
            "another frame's completion"
        );
        assert!(
            side.got.last().is_none_or(|last| frame < *last),
            "out of order"
        );
        side.got.push(frame);
        true
    }

    /// Frees buffers of earlier sessions once the peer does not use them any more.
    fn take_back(&mut self, me: usize) -> bool {
        let side = &mut self.sides[me];
        let now = side.handshake.session();
        let peer = side.window.peer();
        let mut any = false;
        for memory in &mut side.memory {
            let old = memory.as_ref().map(|memory| memory.session);
            if let Some(old) = old.filter(|old| *old != now) {
                if !peer.is_some_and(|peer| peer.uses(old)) {
                    *memory = None;
                    any = true;
                }
            }
        }
        any
    }

    /// Lets the link and the handshakes come to rest, and all frames that are left arrive.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let mut busy = false;
            for me in 0..2 {
                for action in 0..=6 {
                    busy |= self.act(me, action);
                }
            }
            if !busy {
                break;
            }
        }
        for side in &self.sides {
            assert!(side.handshake.is_up(), "no way up again");
        }
    }

    /// The state as bytes to compare.
    fn key(&self) -> Vec<u8> {
        let sides = self.sides.each_ref().map(|side| {
            format!(
                "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{}{:?}{}{:?}",
                side.handshake,
                side.receiver,
                side.sender,
                side.window.header,
                side.window.buffers_head,
                side.window.completions_head,
                side.flying,
                side.frames,
                side.got,
                side.restarts,
                side.memory
                    .iter()
                    .map(|m| m.as_ref().map(|m| (m.session, m.frame)))
                    .collect::<Vec<_>>(),
            )
        });
        format!("{sides:?}{:?}", self.link).into_bytes()
    }
}

/// All orders of everything that two sides can do that each send one frame, one of which starts again
/// once, with a farewell or without. Returns how many states there were.
pub fn exhaustive() -> usize {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let first = Pair::new([1, 1], [1, 0], false);
    let mut seen = HashSet::new();
    let mut todo = vec![first];
    let mut up = BTreeSet::new();
    while let Some(pair) = todo.pop() {
        let mut hasher = DefaultHasher::new();
        pair.key().hash(&mut hasher);
        if !seen.insert(hasher.finish()) {
            continue;
        }
        let mut rest = true;
        for me in 0..2 {
            for action in 0..ACTIONS {
                let mut next = pair.clone();
                if next.act(me, action) {
                    rest &= action >= 7;
                    todo.push(next);
                }
            }
        }
        if rest {
            // Nothing is under way: both are up, and what was not lost to a restart has arrived.
            for (me, side) in pair.sides.iter().enumerate() {
                assert!(side.handshake.is_up(), "both wait for ever");
                assert_eq!(side.frames, 0, "a frame was never sent");
                up.insert((me, side.got.clone()));
            }
        }
    }
    // Both outcomes occur at both sides: a frame that arrives, and one that the restart took.
    for outcome in [(0, vec![1]), (1, vec![1]), (0, vec![]), (1, vec![])] {
        assert!(up.contains(&outcome), "{outcome:?} does not occur");
    }
    seen.len()
}

/// One order out of many, chosen by `choices`; afterwards both sides come up again.
pub fn random(choices: &[u16]) {
    let mut pair = Pair::new([3000, 3000], [20, 20], true);
    for choice in choices {
        let choice = usize::from(*choice);
        // A restart is one of hundreds of choices, so that there is traffic between two.
        let action = match choice / 2 % 512 {
            common @ 0..=509 => common % 7,
            restart => restart - 510 + 7,
        };
        pair.act(choice % 2, action);
    }
    pair.settle();
}
