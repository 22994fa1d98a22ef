"""The ground floor: what producer and consumer both speak. It knows neither of them."""
