DROP TABLE vault.contacts;
