//! Bundles there and back, and every way in which one does not fit.

use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::{kernel::cell::CellKind, network::Sizes};

fn bundle(kind: CellKind) -> Bundle {
    let sizes = Sizes { kind, hidden: 4, width: 3 };
    let mut random = rand_pcg::Pcg64Mcg::seed_from_u64(7);
    let mut weights = Weights::zeros(sizes).unwrap();
    weights.change(|_, tensor| tensor.iter_mut().for_each(|weight| *weight = random.random_range(-1.0..1.0)));
    Bundle { card: Card { seed: 7, ..Card::of(sizes) }, weights }
}

/// What a bundle with a changed card is refused with.
fn refused(change: impl Fn(&mut Card)) -> String {
    let mut bundle = bundle(CellKind::Lstm);
    change(&mut bundle.card);
    Bundle::from_bytes(&bundle.to_bytes(Precision::Full).unwrap()).unwrap_err().to_string()
}

#[test]
fn a_bundle_comes_back_as_it_was() {
    for kind in [CellKind::Lstm, CellKind::Gru] {
        let bundle = bundle(kind);
        assert_eq!(Bundle::from_bytes(&bundle.to_bytes(Precision::Full).unwrap()).unwrap(), bundle);
    }
}

#[test]
fn the_same_bundle_is_the_same_bytes() {
    let bundle = bundle(CellKind::Lstm);
    let bytes = bundle.to_bytes(Precision::Full).unwrap();
    assert!((0..8).all(|_| bundle.to_bytes(Precision::Full).unwrap() == bytes));
}

#[test]
fn half_precision_halves_the_file_and_keeps_three_digits() {
    let bundle = bundle(CellKind::Lstm);
    let (full, half) = (bundle.to_bytes(Precision::Full).unwrap(), bundle.to_bytes(Precision::Half).unwrap());
    assert!(half.len() * 10 < full.len() * 6);
    let read = Bundle::from_bytes(&half).unwrap();
    for (one, other) in bundle.weights.tensors().into_iter().flatten().zip(read.weights.tensors().into_iter().flatten())
    {
        assert!((one - other).abs() <= 1e-3, "{one} became {other}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_its_name() {
    let cases: [(String, &str); 5] = [
        (refused(|card| card.format = 9), "format is 9, 1 is needed"),
        (refused(|card| card.schema = "other".into()), "schema is other, ballast-features-1 is needed"),
        (refused(|card| card.cell = "rnn".into()), "cell is rnn, lstm or gru is needed"),
        (refused(|card| card.hidden = 0), "hidden is 0, 1 to 4096 is needed"),
        (refused(|card| card.outputs = 7), "outputs is 7, 90 is needed"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    assert!(refused(|card| card.hidden = 5).starts_with("cell.weight is [28, 16], [29, 20] is needed"));
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let bytes = bundle(CellKind::Lstm).to_bytes(Precision::Full).unwrap();
    for place in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        assert!(Bundle::from_bytes(&damaged).is_err(), "byte {place} of {}", bytes.len());
    }
}

#[test]
fn a_cut_file_is_refused() {
    let bytes = bundle(CellKind::Lstm).to_bytes(Precision::Full).unwrap();
    for length in [0, 7, 8, 100, bytes.len() - 1] {
        assert!(Bundle::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_weight_that_is_no_number_is_refused() {
    let mut bundle = bundle(CellKind::Lstm);
    bundle.weights.change(|index, tensor| {
        if index == 3 {
            tensor[1] = f32::INFINITY;
        }
    });
    let error = Bundle::from_bytes(&bundle.to_bytes(Precision::Full).unwrap()).unwrap_err().to_string();
    assert_eq!(error, "cpu.hidden.bias is inf, finite numbers is needed");
}
