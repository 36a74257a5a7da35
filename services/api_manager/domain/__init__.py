"""Pure parts of the API: who asks, what an error looks like, who may go on. No IO, no clock."""
