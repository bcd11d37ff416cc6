"""The pure engine: tokens, trees, masks, the passes that read features and rewards."""
