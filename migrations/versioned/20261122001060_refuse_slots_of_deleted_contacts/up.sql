-- A slot whose contact was deleted before its promotion makes no person.
ALTER TABLE people.slot
    DROP CONSTRAINT slot_rejection_reason_check,
    ADD CONSTRAINT slot_rejection_reason_check CHECK (rejection_reason IN (
        'INVALID_EMAIL', 'NOT_AN_OBJECT', 'TEXT_TOO_LONG', 'CONTACT_DELETED'));
