"""The audio of one stream and its words, without any IO."""
