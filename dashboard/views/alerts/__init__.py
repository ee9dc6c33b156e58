"""The alerts page: the list, the details of one alert, and the actions on it."""
