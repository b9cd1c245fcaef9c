//! The eight invented breeds: what tells them apart, and how much their members differ.
//!
//! Breeds are told apart by build, ears, snout, tail, fur and markings together. Colours overlap
//! on purpose: cream, black, brown and grey dogs exist in most breeds, so that a classifier has
//! to look at shapes.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::brush::{Fur, Rgb};

/// The form of the ears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ears {
    Pointed,
    Button,
    Floppy,
    Long,
    Rose,
}

/// The form of the tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tail {
    Stub,
    Whip,
    Sabre,
    Brush,
    Plume,
    Curl,
}

/// How the second colour lies on the first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Marking {
    Plain,
    Patches,
    Spots,
    Saddle,
    Stripes,
    Mask,
    Bib,
}

/// Main colour, colour of the markings, colour of the belly and the cheeks.
pub(super) type Coat = (Rgb, Rgb, Rgb);

/// What the members of a breed have in common. Lengths are in units of the drawing, in which a
/// middle-sized dog is about 100 high.
#[derive(Debug)]
pub(super) struct Breed {
    pub(super) name: &'static str,
    body: f32,
    depth: f32,
    tuck: f32,
    legs: f32,
    leg_width: f32,
    neck: f32,
    head: f32,
    snout: f32,
    snout_width: f32,
    ears: Ears,
    ear_size: f32,
    tail: Tail,
    fur: Fur,
    beard: bool,
    coats: &'static [Coat],
    markings: &'static [(Marking, u32)],
}

/// One dog, ready to be drawn.
#[derive(Debug, Clone)]
pub(super) struct Dog {
    pub(super) body: f32,
    pub(super) depth: f32,
    pub(super) tuck: f32,
    pub(super) legs: f32,
    pub(super) leg_width: f32,
    pub(super) neck: f32,
    pub(super) head: f32,
    pub(super) snout: f32,
    pub(super) snout_width: f32,
    pub(super) ears: Ears,
    pub(super) ear_size: f32,
    pub(super) tail: Tail,
    pub(super) fur: Fur,
    pub(super) beard: bool,
    pub(super) main: Rgb,
    pub(super) second: Rgb,
    pub(super) pale: Rgb,
    pub(super) marking: Marking,
}

const CREAM: Rgb = [238, 219, 184];
const WHITE: Rgb = [247, 244, 238];
const BLACK: Rgb = [58, 54, 60];
const GREY: Rgb = [148, 150, 158];
const SLATE: Rgb = [104, 112, 128];
const FAWN: Rgb = [214, 170, 118];
const RED: Rgb = [190, 110, 58];
const LIVER: Rgb = [122, 74, 50];
const CHOCOLATE: Rgb = [88, 58, 46];
const SAND: Rgb = [196, 164, 122];
const MOSS: Rgb = [142, 136, 104];

/// The breeds, in the order of their folder names.
pub(super) const BREEDS: [Breed; 8] = [
    Breed {
        name: "001.Button_pug",
        body: 58.0,
        depth: 44.0,
        tuck: 0.0,
        legs: 22.0,
        leg_width: 7.0,
        neck: 8.0,
        head: 31.0,
        snout: 1.5,
        snout_width: 16.0,
        ears: Ears::Button,
        ear_size: 0.95,
        tail: Tail::Curl,
        fur: Fur::Smooth,
        beard: false,
        coats: &[
            (FAWN, BLACK, CREAM),
            (CREAM, CHOCOLATE, WHITE),
            (BLACK, SLATE, GREY),
            (GREY, BLACK, WHITE),
        ],
        markings: &[(Marking::Mask, 7), (Marking::Plain, 2), (Marking::Bib, 1)],
    },
    Breed {
        name: "002.Cinder_shepherd",
        body: 76.0,
        depth: 41.0,
        tuck: 0.25,
        legs: 40.0,
        leg_width: 6.5,
        neck: 20.0,
        head: 23.0,
        snout: 21.0,
        snout_width: 10.0,
        ears: Ears::Pointed,
        ear_size: 1.18,
        tail: Tail::Brush,
        fur: Fur::Shaggy(1.6),
        beard: false,
        coats: &[
            (FAWN, BLACK, CREAM),
            (RED, BLACK, FAWN),
            (GREY, SLATE, CREAM),
            (CREAM, SAND, WHITE),
            (SLATE, BLACK, GREY),
        ],
        markings: &[(Marking::Saddle, 6), (Marking::Plain, 2), (Marking::Mask, 2)],
    },
    Breed {
        name: "003.Domino_dane",
        body: 76.0,
        depth: 44.0,
        tuck: 0.45,
        legs: 58.0,
        leg_width: 7.5,
        neck: 29.0,
        head: 24.0,
        snout: 17.0,
        snout_width: 13.5,
        ears: Ears::Floppy,
        ear_size: 0.95,
        tail: Tail::Sabre,
        fur: Fur::Smooth,
        beard: false,
        coats: &[
            (WHITE, BLACK, WHITE),
            (WHITE, SLATE, WHITE),
            (CREAM, LIVER, WHITE),
            (GREY, BLACK, WHITE),
            (FAWN, BLACK, CREAM),
        ],
        markings: &[(Marking::Spots, 7), (Marking::Patches, 2), (Marking::Mask, 1)],
    },
    Breed {
        name: "004.Lantern_hound",
        body: 80.0,
        depth: 40.0,
        tuck: 0.2,
        legs: 27.0,
        leg_width: 7.0,
        neck: 15.0,
        head: 24.0,
        snout: 16.0,
        snout_width: 12.0,
        ears: Ears::Long,
        ear_size: 1.0,
        tail: Tail::Sabre,
        fur: Fur::Smooth,
        beard: false,
        coats: &[
            (WHITE, RED, WHITE),
            (RED, BLACK, WHITE),
            (FAWN, LIVER, WHITE),
            (WHITE, BLACK, CREAM),
        ],
        markings: &[(Marking::Saddle, 4), (Marking::Patches, 4), (Marking::Bib, 2)],
    },
    Breed {
        name: "005.Moss_terrier",
        body: 62.0,
        depth: 35.0,
        tuck: 0.05,
        legs: 18.0,
        leg_width: 7.0,
        neck: 12.0,
        head: 24.0,
        snout: 9.0,
        snout_width: 12.0,
        ears: Ears::Button,
        ear_size: 0.95,
        tail: Tail::Stub,
        fur: Fur::Shaggy(4.8),
        beard: true,
        coats: &[
            (SAND, LIVER, CREAM),
            (GREY, SLATE, CREAM),
            (MOSS, CHOCOLATE, SAND),
            (CREAM, SAND, WHITE),
            (BLACK, SLATE, GREY),
            (RED, LIVER, FAWN),
        ],
        markings: &[(Marking::Plain, 5), (Marking::Saddle, 3), (Marking::Bib, 2)],
    },
    Breed {
        name: "006.Puddle_spaniel",
        body: 68.0,
        depth: 40.0,
        tuck: 0.1,
        legs: 31.0,
        leg_width: 8.0,
        neck: 15.0,
        head: 24.0,
        snout: 14.0,
        snout_width: 11.5,
        ears: Ears::Long,
        ear_size: 1.12,
        tail: Tail::Plume,
        fur: Fur::Curly(3.8),
        beard: false,
        coats: &[
            (LIVER, CHOCOLATE, FAWN),
            (CHOCOLATE, LIVER, SAND),
            (WHITE, LIVER, WHITE),
            (BLACK, SLATE, GREY),
            (CREAM, RED, WHITE),
        ],
        markings: &[(Marking::Plain, 4), (Marking::Patches, 4), (Marking::Bib, 2)],
    },
    Breed {
        name: "007.Ribbon_whippet",
        body: 72.0,
        depth: 32.0,
        tuck: 1.0,
        legs: 50.0,
        leg_width: 4.0,
        neck: 27.0,
        head: 17.5,
        snout: 22.0,
        snout_width: 7.5,
        ears: Ears::Rose,
        ear_size: 0.9,
        tail: Tail::Whip,
        fur: Fur::Smooth,
        beard: false,
        coats: &[
            (FAWN, LIVER, CREAM),
            (GREY, SLATE, WHITE),
            (CREAM, FAWN, WHITE),
            (SLATE, BLACK, WHITE),
            (RED, CHOCOLATE, CREAM),
        ],
        markings: &[(Marking::Stripes, 5), (Marking::Bib, 3), (Marking::Plain, 2)],
    },
    Breed {
        name: "008.Snowcap_spitz",
        body: 56.0,
        depth: 45.0,
        tuck: 0.0,
        legs: 25.0,
        leg_width: 6.5,
        neck: 12.0,
        head: 26.5,
        snout: 9.0,
        snout_width: 9.5,
        ears: Ears::Pointed,
        ear_size: 0.74,
        tail: Tail::Curl,
        fur: Fur::Shaggy(3.4),
        beard: false,
        coats: &[
            (WHITE, CREAM, WHITE),
            (RED, CREAM, WHITE),
            (GREY, BLACK, WHITE),
            (CREAM, FAWN, WHITE),
            (BLACK, SLATE, WHITE),
        ],
        markings: &[(Marking::Plain, 4), (Marking::Bib, 4), (Marking::Saddle, 2)],
    },
];

impl Breed {
    /// Draws one member by lot.
    pub(super) fn member(&self, rng: &mut ChaCha8Rng) -> Dog {
        // One dog in eight is young: a larger head, shorter legs, a shorter snout.
        let puppy = rng.random_bool(0.125);
        let (more, less) = if puppy { (1.18, 0.78) } else { (1.0, 1.0) };
        let mut about = |value: f32| value * rng.random_range(0.92..1.08);
        let (body, depth) = (about(self.body) * if puppy { 0.88 } else { 1.0 }, about(self.depth));
        let (legs, leg_width) = (about(self.legs) * less, about(self.leg_width));
        let (neck, head) = (about(self.neck) * less, about(self.head) * more);
        let (snout, snout_width) = (about(self.snout) * less, about(self.snout_width));
        let ear_size = about(self.ear_size);
        // The smallest of three lots: the coats that stand first are the more common ones.
        let coats = self.coats.len();
        let mut lot = || rng.random_range(0..coats);
        let coat = lot().min(lot()).min(lot());
        let (main, second, pale) = self.coats[coat];
        let mut tint = |c: Rgb| {
            let light = rng.random_range(0.9..1.07);
            c.map(|v| (f32::from(v) * light + rng.random_range(-7.0..7.0)).clamp(0.0, 255.0) as u8)
        };
        let (main, second, pale) = (tint(main), tint(second), tint(pale));
        let total: u32 = self.markings.iter().map(|&(_, weight)| weight).sum();
        let mut rest = rng.random_range(0..total);
        let mut marking = Marking::Plain;
        for &(kind, weight) in self.markings {
            if rest < weight {
                marking = kind;
                break;
            }
            rest -= weight;
        }
        Dog {
            body,
            depth,
            tuck: self.tuck,
            legs,
            leg_width,
            neck,
            head,
            snout,
            snout_width,
            ears: self.ears,
            ear_size,
            tail: self.tail,
            fur: self.fur,
            beard: self.beard,
            main,
            second,
            pale,
            marking,
        }
    }
}
