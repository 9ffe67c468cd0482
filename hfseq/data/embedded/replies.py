"""What the assistant of the embedded data answers: one sentence for each intent, with the slots of the utterance.

    what time is it in Oslo tomorrow?  ->  I will look up the time in Oslo.

An intent has several replies, from the most particular to the one that needs no slot; the first one whose slots are
all in the utterance is said. So a reply follows from the meaning alone, and which one is right can be learnt.
"""

import re
from collections.abc import Mapping, Sequence

from .grammar import OUTSIDE, slot_type
from .lexicon import entries

_SLOT = re.compile(r"\{(\w+)\}")

# intent: replies, the most particular one first; what stands behind the last | needs no slot.
REPLIES = {
    intent: [reply.strip() for reply in replies.split("|")]
    for intent, replies in entries("""
get_time: I will look up the time in {city}. | I will look up the time.
get_weather: I will look up the weather in {city} {date}. | I will look up the weather in {city}.
    | I will look up the weather.
set_alarm: The alarm is set for {time}. | The alarm in the {room} will ring in {duration}. | The alarm is set.
set_reminder: I will remind {contact} about the {event}. | I will say something about the {event} at {time}.
    | I will remind {contact}. | I will think of it.
make_call: I am calling {contact} at {time}. | I am calling {contact}. | I am calling.
send_message: I am telling {contact} about the {event}. | The message to {contact} is sent. | The message is sent.
send_money: {contact} gets {amount} {currency}. | I am paying {contact}. | It is paid.
play_music: Here is {song} by {artist}. | Here is {song}. | Here is something by {artist}. | Here is some music.
control_device: I am looking after the {device} in the {room}. | I am looking after the {device}. | It is done.
set_temperature: The {room} will have {temperature}. | I am setting the temperature.
convert_currency: I will count how many {currency} that is. | I will count it.
book_trip: I am looking for a flight from {origin} to {destination}. | I am looking for a flight to {destination}.
    | I am looking for a flight.
find_recipe: I have a recipe for the {dish} with {ingredient}. | I have a recipe with {ingredient}. | I have a recipe.
order_food: The {dish} is ordered for {contact}. | The {dish} is ordered. | It is ordered.
translate: I will say that in {language}. | I will say that.
look_up_person: I will read about {person}. | I will read about them.
look_up_place: I will read about {city}. | I will read about it.
schedule_event: The {event} is on the calendar at {time}. | The {event} is on the calendar {date}.
    | The {event} is on the calendar. | I will look at the calendar of {contact}. | It is on the calendar.
rate: I will remember what you say of the {dish}. | I will remember what you say of {song}.
    | I will remember what you say of the {device}. | I will remember that.
ask_permission: I will ask about the {purchase}. | I will ask.
grant_permission: Good to know about the {purchase}. | Good to know.
ask_status: I will look at the {device} in the {room}. | I will measure the {room}. | I will look.
report_status: Thank you, I note the {device} in the {room}. | Thank you, I note the {room}. | Thank you.
ask_opinion: I have never tried the {dish}. | I have never used the {device}. | I cannot say.
""").items()
}


def reply(intent: str, tokens: Sequence[str], tags: Sequence[str]) -> str:
    """Return what is answered to an utterance.

    Args:
        intent: The name of its label.
        tokens: Its words.
        tags: The slot of each word, in IOB2.
    """
    slots = _slots(tokens, tags)
    said = next(each for each in REPLIES[intent] if slots.keys() >= set(_SLOT.findall(each)))
    return said.format_map(slots)


def _slots(tokens: Sequence[str], tags: Sequence[str]) -> Mapping[str, str]:
    """Return the first value of each slot."""
    values: dict[str, list[str]] = {}
    last = ""
    for word, tag in zip(tokens, tags, strict=True):
        prefix, _, slot = tag.partition("-")
        slot = slot_type(slot)
        if prefix == "B" and slot not in values:
            values[slot], last = [word], slot
        elif prefix == "I" and slot == last:
            values[slot].append(word)
        else:
            last = "" if tag == OUTSIDE or prefix == "B" else last
    return {slot: " ".join(words) for slot, words in values.items()}
