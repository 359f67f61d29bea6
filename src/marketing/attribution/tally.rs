//! The shares of many conversions, added up.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Model, WHOLE, apportion};

/// A share of the conversions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::marketing) struct Share {
    /// How many conversions it has a part of.
    pub(in crate::marketing) conversions: i64,
    /// In parts of [`WHOLE`] a conversion.
    pub(in crate::marketing) credit: i128,
    /// In cents.
    pub(in crate::marketing) cents: i128,
}

impl Share {
    /// Adds a part of one conversion. A part without credit is none.
    fn add(&mut self, credit: i128, cents: i128) {
        self.conversions += i64::from(credit > 0);
        self.credit += credit;
        self.cents += cents;
    }
}

/// A touch before a conversion.
#[derive(Clone, Copy, Debug)]
pub(in crate::marketing) struct Touch {
    /// When, in nanoseconds of any era.
    pub(in crate::marketing) at: i128,
    /// Whose.
    pub(in crate::marketing) campaign_id: Option<Uuid>,
}

/// Who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Party {
    Shown(Uuid),
    NotShown,
    WithoutCampaign,
    NoTouch,
}

/// What each campaign has of the conversions that were added, and what nobody has.
///
/// The credits of all sum to one a conversion, their values to its value. Nothing is kept of a conversion but
/// its sums.
#[derive(Debug)]
pub(in crate::marketing) struct Tally {
    model: Model,
    shown: Option<HashSet<Uuid>>,
    campaigns: HashMap<Uuid, Share>,
    /// Of conversions without a touch.
    pub(in crate::marketing) no_touch: Share,
    /// Of touches that belong to no campaign.
    pub(in crate::marketing) without_campaign: Share,
    /// Of touches of campaigns that are not shown.
    pub(in crate::marketing) other_campaigns: Share,
    /// The three above; a conversion counts once.
    pub(in crate::marketing) unattributed: Share,
    /// Every conversion.
    pub(in crate::marketing) total: Share,
}

impl Tally {
    /// Nothing yet. Shows these campaigns, also where they come to have nothing, or else those that have a share.
    pub(in crate::marketing) fn new(model: Model, shown: Option<HashSet<Uuid>>) -> Self {
        let campaigns = shown.iter().flatten();
        Self {
            model,
            campaigns: campaigns.map(|id| (*id, Share::default())).collect(),
            shown,
            no_touch: Share::default(),
            without_campaign: Share::default(),
            other_campaigns: Share::default(),
            unattributed: Share::default(),
            total: Share::default(),
        }
    }

    /// Adds a conversion with the touches before it, in their order.
    pub(in crate::marketing) fn add(&mut self, cents: i128, touches: &[Touch]) {
        self.total.add(WHOLE, cents);
        let mut unattributed = (0, 0);
        for (party, (credit, cents)) in self.parts(cents, touches) {
            if let Party::Shown(campaign_id) = party {
                // No part, no share: such a campaign is not shown.
                if credit > 0 {
                    let share = self.campaigns.entry(campaign_id).or_default();
                    share.add(credit, cents);
                }
                continue;
            }
            unattributed = (unattributed.0 + credit, unattributed.1 + cents);
            match party {
                Party::NoTouch => self.no_touch.add(credit, cents),
                Party::WithoutCampaign => self.without_campaign.add(credit, cents),
                Party::NotShown | Party::Shown(_) => self.other_campaigns.add(credit, cents),
            }
        }
        self.unattributed.add(unattributed.0, unattributed.1);
    }

    /// Who has which credit and value of a conversion.
    fn parts(&self, cents: i128, touches: &[Touch]) -> HashMap<Party, (i128, i128)> {
        if touches.is_empty() {
            return HashMap::from([(Party::NoTouch, (WHOLE, cents))]);
        }
        let times: Vec<i128> = touches.iter().map(|touch| touch.at).collect();
        let credits = self.model.credits(&times);
        let values = apportion(cents, &credits);
        let mut parts = HashMap::new();
        for ((touch, credit), value) in touches.iter().zip(credits).zip(values) {
            let part: &mut (i128, i128) = parts.entry(self.party(touch)).or_default();
            part.0 += credit;
            part.1 += value;
        }
        parts
    }

    fn party(&self, touch: &Touch) -> Party {
        let is_shown = |id| self.shown.as_ref().is_none_or(|shown| shown.contains(id));
        match &touch.campaign_id {
            None => Party::WithoutCampaign,
            Some(id) if is_shown(id) => Party::Shown(*id),
            Some(_) => Party::NotShown,
        }
    }

    /// The campaigns with the largest value first, of equals the largest credit, then by id.
    pub(in crate::marketing) fn campaigns(&self) -> Vec<(Uuid, Share)> {
        let mut campaigns: Vec<_> = self.campaigns.iter().map(|(id, own)| (*id, *own)).collect();
        campaigns.sort_unstable_by_key(|(id, own)| (-own.cents, -own.credit, *id));
        campaigns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::models, *};

    fn campaign(nth: u8) -> Uuid {
        Uuid::from_u128(nth.into())
    }

    /// A journey: its touches with their campaigns (0: none), and the value in cents.
    fn journeys() -> impl Strategy<Value = Vec<(Vec<(i128, u8)>, i128)>> {
        let touches = proptest::collection::vec((0..10_000_000_000_000_000_i128, 0..6_u8), 0..12);
        let journey = (touches, 0..1_000_000_000_000_000_000_i128);
        proptest::collection::vec(journey, 0..20)
    }

    fn sum(shares: impl IntoIterator<Item = Share>) -> (i128, i128) {
        shares.into_iter().fold((0, 0), |sum, share| {
            (sum.0 + share.credit, sum.1 + share.cents)
        })
    }

    proptest! {
        #[test]
        fn campaigns_and_unattributed_are_the_total_whatever_is_shown(
            mut journeys in journeys(),
            shown in proptest::option::of(proptest::collection::hash_set((1..9_u8).prop_map(campaign), 1..6)),
            half_life in 1..1_000_000_000_000_000_i128,
        ) {
            for (touches, _) in &mut journeys {
                touches.sort_unstable();
            }
            for model in models(half_life) {
                let mut tally = Tally::new(model, shown.clone());
                let mut whole = Tally::new(model, None);
                for (touches, cents) in &journeys {
                    let touches: Vec<Touch> = touches.iter().map(|(at, nth)| Touch {
                        at: *at,
                        campaign_id: (*nth > 0).then(|| campaign(*nth)),
                    }).collect();
                    tally.add(*cents, &touches);
                    whole.add(*cents, &touches);
                }
                let all: i128 = journeys.iter().map(|(_, cents)| cents).sum();
                let count = i64::try_from(journeys.len()).unwrap();
                let total = Share { conversions: count, credit: WHOLE * i128::from(count), cents: all };
                prop_assert_eq!(tally.total, total);
                let campaigns = tally.campaigns();
                let shares = campaigns.iter().map(|(_, share)| *share).chain([tally.unattributed]);
                prop_assert_eq!(sum(shares), (total.credit, total.cents));
                let parts = [tally.no_touch, tally.without_campaign, tally.other_campaigns];
                prop_assert_eq!(sum(parts), sum([tally.unattributed]));
                prop_assert!(tally.unattributed.conversions <= count);

                // What is shown changes no share.
                let shares: HashMap<_, _> = whole.campaigns().into_iter().collect();
                for (id, share) in &campaigns {
                    prop_assert_eq!(*share, shares.get(id).copied().unwrap_or_default());
                }
                prop_assert_eq!(campaigns.len(), shown.as_ref().map_or(shares.len(), HashSet::len));
                prop_assert_eq!(tally.no_touch, whole.no_touch);
                prop_assert_eq!(tally.without_campaign, whole.without_campaign);
            }
        }
    }

    /// Two touches of one campaign, one of another, one of none, each a quarter of 100.01. In cents a quarter is
    /// 2500.25, so that the cent that is left over goes to the first: 2501, 2500, 2500, 2500.
    #[test]
    fn a_conversion_counts_once_a_campaign() {
        let touch = |at, campaign_id| Touch { at, campaign_id };
        let (a, b) = (campaign(1), campaign(2));
        let touches = [
            touch(1, Some(a)),
            touch(2, Some(b)),
            touch(3, None),
            touch(4, Some(a)),
        ];
        let mut tally = Tally::new(Model::Linear, None);
        tally.add(10_001, &touches);
        let share = |credit, cents| Share {
            conversions: 1,
            credit,
            cents,
        };
        assert_eq!(
            tally.campaigns(),
            [(a, share(WHOLE / 2, 5_001)), (b, share(WHOLE / 4, 2_500))]
        );
        assert_eq!(tally.without_campaign, share(WHOLE / 4, 2_500));
        assert_eq!(tally.unattributed, share(WHOLE / 4, 2_500));
        assert_eq!(tally.no_touch, Share::default());
    }
}
