-- They stay rejected: pending ones would be promoted.
UPDATE people.slot SET rejection_reason = NULL, rejection_detail = NULL WHERE rejection_reason = 'CONTACT_DELETED';
ALTER TABLE people.slot
    DROP CONSTRAINT slot_rejection_reason_check,
    ADD CONSTRAINT slot_rejection_reason_check CHECK (rejection_reason IN (
        'INVALID_EMAIL', 'NOT_AN_OBJECT', 'TEXT_TOO_LONG'));
