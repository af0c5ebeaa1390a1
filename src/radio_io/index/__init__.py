"""The index: schema, records, catalog and queries."""
