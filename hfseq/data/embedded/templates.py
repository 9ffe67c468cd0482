"""The sentences of the embedded data set: templates of all intents, as data.

To add an intent, add its name to `_INTENT_TEMPLATES` and below it templates, `English = German`, whose marks
`grammar.py` explains. A template ends as it would in writing: `?` for a question, `.` for a statement, nothing for a
command. A slot is any key of `lexicon.VALUES` or of `PHRASES`; `{city2}` is a second, different city.
"""

import re
from itertools import combinations

from .grammar import Rule
from .lexicon import entries

Templates = tuple[str, ...]

PHRASES = {
    "quality": (Rule("{praise}", "{praise}"), Rule("{blame}", "{blame}")),
    "opinion": (
        Rule("{quality}", "{quality}"),
        Rule("not {quality}", "nicht {quality}"),
        Rule("never {quality}", "nie {quality}"),
        Rule("{degree} {quality}", "{degree} {quality}"),
        Rule("not [{degree} {quality}]", "nicht {degree} {quality}"),
        Rule("really [not {quality}]", "wirklich nicht {quality}"),
        Rule("{praise} but [{degree} {blame}]", "{praise}, aber {degree} {blame}"),
        Rule("[{degree} {blame}] but {praise}", "{degree} {blame}, aber {praise}"),
        Rule("{praise} but [not {praise2}]", "{praise}, aber nicht {praise2}"),
        Rule("[not {praise}] but [not {blame}]", "nicht {praise}, aber nicht {blame}"),
    ),
}


def _templates(text: str) -> dict[str, Templates]:
    return {intent: tuple(template.split(" = ")) for intent, template in entries(text).items()}


# Only the value tells "what about Oslo today?" (get_weather) from "what about Anna today?" (schedule_event).
_INTENT_TEMPLATES = """
get_time
    what time is it in {city} {date}? = wie spät ist es {date} in {city}?
    what time is it in {city} when it is {time} in {city2}? = wie spät ist es in {city}, wenn es in {city2} {time} ist?
    how far ahead of {city} is {city2}? = wie viel später ist es in {city2} als in {city}?
get_weather
    what will the weather be in {city} {date}? = wie wird das Wetter {date} in {city}?
    will it rain in {city} {date}? = wird es {date} in {city} regnen?
    will it be colder than {temperature} in {city}? = wird es in {city} kälter als {temperature}?
    what about {city} {date}? = was ist {date} mit {city}?
set_alarm
    set an alarm for {time} {date} = stelle {date} einen Wecker auf {time}
    wake {whom} up at {time} {date} = wecke {whom} {date} um {time}
    ring the alarm in the {room} in {duration} = lass den Wecker {room.in} in {duration.dat} klingeln
set_reminder
    remind {whom} about the {event} at {time} = erinnere {whom} um {time} an {event.acc}
    do not let {whom} forget the {event} {date} = lass {whom} {event.acc} {date} nicht vergessen
    remind {contact} to bring the {dish} {date} = erinnere {contact} {date} daran, {dish.acc} mitzubringen
make_call
    call {contact} {date} at {time} = rufe {contact} {date} um {time} an
    I need to talk to {contact} about the {event}. = ich muss mit {contact} über {event.acc} sprechen.
    dial the number of {contact} in {duration} = wähle in {duration.dat} die Nummer von {contact}
send_message
    text {contact} that the {event} is {opinion} = schreibe {contact}, dass {event.nom} {opinion} ist
    let {contact} know that the {event} is {date} = teile {contact} mit, dass {event.nom} {date} ist
    send a message to {contact} and {contact2} = schicke {contact} und {contact2} eine Nachricht
send_money
    send {amount} {currency} to {contact} = überweise {contact} {amount} {currency}
    pay {contact} {amount} {currency} {date} = zahle {contact} {date} {amount} {currency}
    I owe {contact} {amount} {currency}. = ich schulde {contact} {amount} {currency}.
play_music
    play {song} by {artist} = spiele {song} von {artist}
    play something {praise} by {artist} in the {room} = spiele {room.in} etwas von {artist}, das {praise} ist
    put on {song} {date} at {time} = lege {date} um {time} {song} auf
control_device
    turn on the {device} in the {room} = schalte {device.acc} {room.in} ein
    turn the {device} off at {time} = schalte {device.acc} um {time} aus
    turn off the [{blame} {device}] in the {room} = schalte {device.acc+blame} {room.in} aus
    let the {device} run for {duration} = lass {device.acc} {duration} lang laufen
set_temperature
    heat the {room} to {temperature} = heize {room.acc} auf {temperature}
    keep the {room} at {temperature} for {duration} = halte {room.acc} {duration} lang auf {temperature}
    make it {temperature} in the {room} {date} = mach es {date} {room.in} {temperature} warm
convert_currency
    convert {amount} {currency} to {currency2} = rechne {amount} {currency} in {currency2} um
    how many {currency} are {amount} {currency2}? = wie viele {currency} sind {amount} {currency2}?
book_trip
    book a flight from {origin} to {destination} {date} = buche {date} einen Flug von {origin} nach {destination}
    get {whom} to {destination} from {origin} = bringe {whom} von {origin} nach {destination}
    I want to go to {destination} {date}. = ich möchte {date} nach {destination} reisen.
find_recipe
    find a recipe with {ingredient} and {ingredient2} = suche ein Rezept mit {ingredient} und {ingredient2}
    how long does the {dish} take with {ingredient}? = wie lange dauert {dish.nom} mit {ingredient}?
    how do I make the {dish} with {ingredient}? = wie mache ich {dish.acc} mit {ingredient}?
order_food
    order the {dish} for {contact} at {time} = bestelle {contact} um {time} {dish.acc}
    get {whom} the {dish} with extra {ingredient} = hole {whom.dat} {dish.acc} mit extra {ingredient}
    I would like the {dish} without {ingredient}. = ich hätte gern {dish.acc} ohne {ingredient}.
translate
    how do you say {saying} in {language}? = wie sagt man „{saying}“ auf {language}?
    ask {contact} what {saying} is in {language} = frag {contact}, was „{saying}“ auf {language} heißt
    translate {saying} from {language} into {language2} = übersetze „{saying}“ von {language} in {language2}
look_up_person
    did {person} ever live in {city}? = hat {person} je in {city} gelebt?
    did {person} ever meet {person2}? = hat {person} je {person2} getroffen?
    was {person} born before {person2}? = wurde {person} vor {person2} geboren?
    what do you know about {person}? = was weißt du über {person}?
look_up_place
    how many people live in {city}? = wie viele Menschen leben in {city}?
    is {city} further from here than {city2}? = ist {city} weiter von hier entfernt als {city2}?
    what do you know about {city}? = was weißt du über {city}?
schedule_event
    put the {event} on my calendar {date} at {time} = trage {event.acc} {date} um {time} in meinen Kalender ein
    schedule the {event} with {contact} {date} = plane {event.acc} {date} mit {contact}
    move the {event} with {contact} to {time} = verschiebe {event.acc} mit {contact} auf {time}
    what about {contact} {date}? = was ist {date} mit {contact}?
rate
    I {feel} the {dish} in {city}. = ich {feel} {dish.acc} in {city}.
    I really {feel} the {dish} in {city}. = ich {feel} {dish.acc} in {city} wirklich.
    I do not {feel} the {dish} in {city}. = ich {feel} {dish.acc} in {city} nicht.
    [I {feel} {song}] but [it is {opinion}]. = ich {feel} {song}, aber es ist {opinion}.
"""
_BLOCKS = (block.split("\n") for block in re.split(r"\n(?=\w)", _INTENT_TEMPLATES.strip()))
INTENTS = {intent: [tuple(line.strip().split(" = ")) for line in lines] for intent, *lines in _BLOCKS}

# The same words in another order are another intent: a model which ignores order can only guess here.
_ORDER_TEMPLATES = """
ask_permission: can {somebody} {handle} the {purchase} {date}? = kann {somebody} {purchase.acc} {date} {handle}?
grant_permission: {somebody} can {handle} the {purchase} {date}. = {somebody} kann {purchase.acc} {date} {handle}.

ask_status: is the {device} in the {room} on? = ist {device.nom} {room.in} an?
report_status: the {device} in the {room} is on. = {device.nom} {room.in} ist an.

ask_status: is it {temperature} in the {room}? = sind es {room.in} {temperature}?
report_status: it is {temperature} in the {room}. = es sind {room.in} {temperature}.

ask_opinion: was [the {dish} in {city}] {opinion}? = war {dish.nom} in {city} {opinion}?
rate: [the {dish} in {city}] was {opinion}. = {dish.nom} in {city} war {opinion}.

ask_opinion: is [the {device} in the {room}] {opinion}? = ist {device.nom} {room.in} {opinion}?
rate: [the {device} in the {room}] is {opinion}. = {device.nom} {room.in} ist {opinion}.
"""

# Verbs which join into "remind Anna to call Ben" and "call Anna to remind Ben": the first one is the intent.
# intent: (English verb, German main clause, German infinitive with "zu")
_JOINED_VERBS = {
    "set_reminder": ("remind", "erinnere {%s} daran,", "{%s} zu erinnern"),
    "make_call": ("call", "rufe {%s} an, um", "{%s} anzurufen"),
    "send_message": ("text", "schreibe {%s.dat}, um", "{%s.dat} zu schreiben"),
    "send_money": ("pay", "bezahle {%s} dafür,", "{%s} zu bezahlen"),
}
_JOINED_OBJECTS = [("contact", "contact2"), ("contact", "whom"), ("whom", "contact")]

# Actions which join into "play Blue Bicycle before you call Anna" and back: the main clause is the intent.
# English = German command = German subordinate clause
_ACTIONS = _templates("""
play_music: play {song} = spiele {song} = {song} spielst
control_device: turn on the {device} = schalte {device.acc} ein = {device.acc} einschaltest
make_call: call {contact} = rufe {contact} an = {contact} anrufst
set_alarm: set the alarm for {time} = stelle den Wecker auf {time} = den Wecker auf {time} stellst
order_food: order the {dish} = bestelle {dish.acc} = {dish.acc} bestellst
set_temperature: heat the {room} to {temperature} = heize {room.acc} auf {temperature} =
    {room.acc} auf {temperature} heizt
send_money: send {contact2} {amount} {currency} = zahle {contact2} {amount} {currency} =
    {contact2} {amount} {currency} zahlst
book_trip: book a flight to {destination} = buche einen Flug nach {destination} = einen Flug nach {destination} buchst
""")
# "{..._clause}" is the German subordinate form of an action. What is corrected with "no wait" does not count.
_JOINS: list[Templates] = [
    ("[{main}] [before you [{other}]]", "{main}, bevor du {other_clause}"),
    ("[before you [{other}]], [{main}]", "bevor du {other_clause}, {main}"),
    ("[{main}] [as soon as you [{other}]]", "{main}, sobald du {other_clause}"),
    ("[as soon as you [{other}]], [{main}]", "sobald du {other_clause}, {main}"),
    ("[{main}] [while you [{other}]]", "{main}, während du {other_clause}"),
    ("[{other}], no wait, [{main}]", "{other}, nein warte, {main}"),
    ("[[{other}] [before you [{third}]]], no wait, [{main}]", "{other}, bevor du {third_clause}, nein warte, {main}"),
    ("[{other}], no wait, [before you [{third}]], [{main}]", "{other}, nein warte, bevor du {third_clause}, {main}"),
]
# The same pieces in combinations which training does not show.
_UNSEEN_JOINS: list[Templates] = [
    ("[while you [{other}]], [{main}]", "während du {other_clause}, {main}"),
    ("[{other}], no wait, [[{main}] [before you [{third}]]]", "{other}, nein warte, {main}, bevor du {third_clause}"),
    (
        "[as soon as you [{other}]], [{third}], no wait, [{main}]",
        "sobald du {other_clause}, {third}, nein warte, {main}",
    ),
    ("[{other}], no wait, [{third}], no wait, [{main}]", "{other}, nein warte, {third}, nein warte, {main}"),
]
_UNSEEN_VERBS = ("send_message", "send_money")


def _join_verbs(intents: list[tuple[str, str]]) -> list[dict[str, Templates]]:
    def join(main: str, other: str, near: str, far: str) -> Templates:
        (verb, clause, _), (second, _, infinitive) = _JOINED_VERBS[main], _JOINED_VERBS[other]
        return f"{verb} {{{near}}} to [{second} {{{far}}}]", f"{clause % near} {infinitive % far}"

    pairs = [(one, two, near, far) for one, two in intents for near, far in _JOINED_OBJECTS]
    return [{one: join(one, two, near, far), two: join(two, one, near, far)} for one, two, near, far in pairs]


def _join_actions(joins: list[Templates]) -> list[dict[str, Templates]]:
    names = list(_ACTIONS)
    pairs = []
    for one, two in combinations(names, 2):
        third = next(name for name in names[names.index(two) + 1 :] + names if name not in (one, two))
        pairs += [{one: _join(join, one, two, third), two: _join(join, two, one, third)} for join in joins]
    return pairs


def _join(join: Templates, main: str, other: str, third: str) -> Templates:
    english, german = {}, {}
    for role, action in (("main", main), ("other", other), ("third", third)):
        english[role], german[role], german[f"{role}_clause"] = _ACTIONS[action]
    return join[0].format(**english), join[1].format(**german)


ORDER_PAIRS = {
    "fixed": [_templates(text) for text in _ORDER_TEMPLATES.split("\n\n")],
    "verbs": _join_verbs([pair for pair in combinations(_JOINED_VERBS, 2) if pair != _UNSEEN_VERBS]),
    "actions": _join_actions(_JOINS),
    "unseen_verbs": _join_verbs([_UNSEEN_VERBS]),
    "unseen_actions": _join_actions(_UNSEEN_JOINS),
}

# Around the sentence, by its final mark: (rule, marks it goes with). Each list contributes one.
MANNERS = [
    (Rule("{core}", "{core}"), "?.!"),
    (Rule("please [{core}]", "bitte {core}", urgency=-0.05), "!"),
    (Rule("[{core}], please", "{core}, bitte", urgency=-0.05), "?!"),
    (Rule("[{core}], thank you", "{core}, danke", urgency=-0.05), "?!"),
]
CIRCUMSTANCES = [
    (Rule("[{core}], right now", "{core}, und zwar sofort", urgency=0.45), "!"),
    (Rule("[{core}], as soon as possible", "{core}, so bald wie möglich", urgency=0.35), "!"),
    (Rule("[{core}], it is urgent", "{core}, es ist dringend", urgency=0.3), "?!"),
    (Rule("[{core}], it is very urgent", "{core}, es ist sehr dringend", urgency=0.5), "?!"),
    (Rule("[{core}], it is not urgent", "{core}, es ist nicht dringend", urgency=-0.2), "?!"),
    (Rule("[{core}], I am in a hurry", "{core}, ich habe es eilig", urgency=0.3), "?.!"),
    (Rule("[{core}], I am not in a hurry", "{core}, ich habe es nicht eilig", urgency=-0.2), "?.!"),
    (Rule("[{core}], I have all day", "{core}, ich habe den ganzen Tag Zeit", urgency=-0.15), "?!"),
    (Rule("[my day was {opinion}], [{core}]", "mein Tag war {opinion}, {core}"), "?.!"),
    (Rule("[this place is {opinion}], [{core}]", "dieser Ort ist {opinion}, {core}"), "?.!"),
    (Rule("[{core}], [that would be {praise}]", "{core}, das wäre {praise}"), "!"),
]
