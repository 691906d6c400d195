//! HTTP/2 frames in a stream of bytes, and the gRPC messages in them: where a network that meddles can take hold.
//!
//! Knows the framing and nothing of what it carries: headers, pings and windows pass as they are.

use std::collections::BTreeMap;

/// What a client's stream begins with.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEADER: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
/// Longest frame that nobody has to allow first.
const FRAME_MAX: usize = 16_384;
/// A gRPC message begins with whether it is compressed and its length.
const PREFIX: usize = 5;

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Frames to pass on as they are.
    Raw(Vec<u8>),
    /// One message of a stream.
    Message {
        /// The stream.
        stream: u32,
        /// The message, its prefix left out.
        bytes: Vec<u8>,
    },
}

/// Cuts a stream of bytes into pieces.
#[derive(Debug)]
pub(super) struct Cutter {
    preface_left: usize,
    waiting: Vec<u8>,
    messages: BTreeMap<u32, Vec<u8>>,
}

impl Cutter {
    /// A cutter of what a client sends, or of what a server does.
    pub(super) fn new(of_client: bool) -> Self {
        let preface_left = if of_client { PREFACE } else { 0 };
        Self { preface_left, waiting: Vec::new(), messages: BTreeMap::new() }
    }

    /// Takes bytes; gives what is complete.
    pub(super) fn cut(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.preface_left > 0 {
            let (preface, rest) = bytes.split_at(self.preface_left.min(bytes.len()));
            self.preface_left -= preface.len();
            pieces.push(Piece::Raw(preface.to_vec()));
            bytes = rest;
        }
        self.waiting.extend_from_slice(bytes);
        while let Some(frame) = self.next_frame() {
            self.take(frame, &mut pieces);
        }
        pieces
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let length = self.waiting.first_chunk::<3>().map(|[a, b, c]| u32::from_be_bytes([0, *a, *b, *c]) as usize)?;
        let whole = HEADER + length;
        (self.waiting.len() >= whole).then(|| self.waiting.drain(..whole).collect())
    }

    fn take(&mut self, frame: Vec<u8>, pieces: &mut Vec<Piece>) {
        let (kind, flags) = (frame[3], frame[4]);
        let stream = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]);
        if kind != DATA || frame.len() == HEADER {
            pieces.push(Piece::Raw(frame));
            return;
        }
        let buffer = self.messages.entry(stream).or_default();
        buffer.extend_from_slice(&frame[HEADER..]);
        while let Some([_, a, b, c, d]) = buffer.first_chunk::<PREFIX>() {
            let whole = PREFIX + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if buffer.len() < whole {
                break;
            }
            let message: Vec<u8> = buffer.drain(..whole).collect();
            pieces.push(Piece::Message { stream, bytes: message[PREFIX..].to_vec() });
        }
        if flags & END_STREAM != 0 {
            pieces.push(Piece::Raw(header(0, END_STREAM, stream)));
        }
    }
}

/// The frames that carry a message.
pub(super) fn frames(stream: u32, message: &[u8]) -> Vec<u8> {
    let mut whole = vec![0];
    whole.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    whole.extend_from_slice(message);
    whole.chunks(FRAME_MAX).flat_map(|part| [header(part.len(), 0, stream), part.to_vec()].concat()).collect()
}

fn header(length: usize, flags: u8, stream: u32) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[DATA, flags], &stream.to_be_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_come() {
        let long = vec![7; 40_000];
        let sent = [frames(1, b"one"), frames(3, &long), frames(1, b""), header(0, END_STREAM, 1)].concat();
        for size in [1, 5, 9_999, sent.len()] {
            let mut cutter = Cutter::new(false);
            let pieces: Vec<Piece> = sent.chunks(size).flat_map(|part| cutter.cut(part)).collect();
            let message = |stream, bytes: &[u8]| Piece::Message { stream, bytes: bytes.to_vec() };
            let end = Piece::Raw(header(0, END_STREAM, 1));
            assert_eq!(pieces, [message(1, b"one"), message(3, &long), message(1, b""), end], "in parts of {size}");
        }
    }

    #[test]
    fn what_is_no_message_passes_as_it_is() {
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0], &[9; 8][..]].concat();
        let mut cutter = Cutter::new(true);
        let sent = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &ping, &frames(1, b"hello")].concat();
        let passed: Vec<u8> = cutter
            .cut(&sent)
            .into_iter()
            .flat_map(|piece| match piece {
                Piece::Raw(bytes) => bytes,
                Piece::Message { stream, bytes } => frames(stream, &bytes),
            })
            .collect();
        assert_eq!(passed, sent);
    }
}
